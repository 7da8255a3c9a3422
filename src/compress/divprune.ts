/**
 * DivPrune: keep the patches that are least alike, whatever anything attends to.
 * "DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models", 2503.02175.
 *
 *     d(p, q) = 1 − cos(Z_p, Z_q)                              Z = projector(F), what the decoder would see
 *     first   = argmax over p of min over q ≠ p of d(p, q)
 *     next    = argmax over p of min over kept q of d(p, q)    until U are kept
 *     kept    = sort(them);  F' = F[kept]
 *
 * The greedy answer to the max-min diversity problem. Paper and released code agree; where two patches are equally
 * far the lower index goes first, and no patch is taken twice, as the code could where patches are equal. Exactly U;
 * U = P changes nothing.
 */
import { cosines } from '../tensor/similarity.ts';
import { picking } from '../tensor/token-matrix.ts';
import { addDiverse } from './diversity.ts';
import { readPictures } from './host.ts';
import type { Method, Seen } from './method.ts';

export const divPrune: Method = {
  name: 'divprune',
  paper: 'DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models, arXiv 2503.02175',
  summary: 'keeps the patches that are least alike to the decoder',
  stages: ['before'],
  defaults: {},
  help: {},
  prepare: ({ patches: P }, budget) => ({
    words: {
      'compress.matrix': `one by one the patch least like those that stay, until there are ${budget}`,
    },
    async choose(seen) {
      const similarities = await compareProjected(seen);
      return {
        W: picking(
          similarities.map((similarity) => addDiverse(similarity, [], budget)),
          P,
        ),
      };
    },
  }),
};

/** The cosine of every two projected patches, [P, P] for each picture. */
export const compareProjected = ({ F, project }: Pick<Seen, 'F' | 'project'>): Promise<Float32Array[]> =>
  readPictures('similarity', () => cosines(project(F))); // [B, P, P]
