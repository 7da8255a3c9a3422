/** What became of pictures' patches, from the matrices that a run recorded. */
import { fatesOf, matrixOf, multiply, type Fates, type TokenMatrix } from '../../tensor/token-matrix.ts';

/**
 * Of each picture, at the decoder's last layer: the product of all W, in data order.
 * @param keepsCls whether the checkpoint's own [CLS] goes along, which is nobody's choice
 */
export function followPatches(matrices: Iterable<TokenMatrix>, keepsCls: boolean): Fates[] {
  const [first, ...others] = matrices;
  const { rows, columns } = others.reduce((before, after) => multiply(after, before), first);
  return rows.map((picture) => {
    const cls = keepsCls ? picture.findIndex((row) => row.size === 0) : -1;
    return fatesOf(matrixOf([picture.filter((_, u) => u !== cls)], columns))[0];
  });
}
