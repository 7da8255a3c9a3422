/**
 * A probe, no compression: is accuracy lost with what was dropped, or because the decoder reads fewer tokens than it was
 * trained on? The dropped places are filled with what the tower makes of a picture in which nothing stands, B:
 *
 *     F'' = Wᵀ·F' + diag(1 − Wᵀ·1)·B        [P, D]: a kept patch where it stood, B where one was dropped
 */
import * as tf from '@tensorflow/tfjs-core';
import type { CompressedPictures } from '../../compress/compress.ts';
import type { Plan } from '../../plan.ts';
import { gatherTokens } from '../../tensor/gather.ts';

export const fillings = ['none', 'blank'] as const;
export type Filling = (typeof fillings)[number];

/** Whether a plan drops patches before the decoder, and does no more: then their places can be filled. */
export const canFill = ({ picks, inTower, between }: Plan): boolean => picks && !inTower && !between;

/**
 * @param picture tokens F' [B, U, D], [CLS] before them where it goes along; not disposed
 * @param blank B [1, P, D]; not disposed
 * @returns [B, P, D], and [CLS]; the caller's
 */
export function fillBlank(
  { tokens, W }: Pick<CompressedPictures, 'tokens' | 'W'>,
  blank: tf.Tensor3D,
): tf.Tensor3D {
  const [B, Z, P] = W.shape;
  const rows = W.rows.map((picture) => {
    const cls = picture.flatMap((row, z) => (row.size === 0 ? [z] : []));
    const placeOf = new Map(picture.flatMap((row, z) => [...row.keys()].map((patch) => [patch, z] as const)));
    return [...cls, ...Array.from({ length: P }, (_, p) => placeOf.get(p) ?? Z + p)];
  });
  return tf.tidy(() => {
    const both = tf.concat([tokens, tf.tile(blank, [B, 1, 1])], 1); // [B, Z + P, D]
    return gatherTokens(both, tf.tensor2d(rows, undefined, 'int32'));
  });
}
