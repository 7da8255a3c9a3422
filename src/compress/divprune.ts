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
import * as tf from '@tensorflow/tfjs-core';
import { cosines } from '../tensor/similarity.ts';
import { addDiverse } from './diversity.ts';
import { readPictures } from './host.ts';
import { keepEach } from './keep.ts';
import type { VisionFeatures, VisionMethod } from './method.ts';

export const divPrune: VisionMethod = {
  name: 'divprune',
  paper: 'DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models, arXiv 2503.02175',
  summary: 'keeps the patches that are least alike to the decoder',
  where: 'vision',
  defaults: {},
  help: {},
  asks: () => ({}),
  async run(features, budget) {
    const similarities = await compareProjected(features);
    return keepEach(
      features,
      similarities.map((similarity) => addDiverse(similarity, [], budget)),
    );
  },
};

/** The cosine of every two projected patches, [P, P] for each picture. */
export async function compareProjected({ all, project }: VisionFeatures): Promise<Float32Array[]> {
  const similarity = tf.tidy(() => cosines(project(all()))); // [B, P, P]
  try {
    return await readPictures('similarity', similarity);
  } finally {
    similarity.dispose();
  }
}
