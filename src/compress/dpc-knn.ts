/**
 * DPC-KNN, the clusterer of SeTok, without SeTok's training: dense patches far from denser ones are centres.
 * "Towards Semantic Equivalence of Tokenization in Multimodal LLM", 2406.05127.
 *
 *     d(p, q) = |F_p − F_q| / √D
 *     ρ_p     = exp(−mean of d² to the k nearest patches, p itself among them)
 *     δ_p     = distance to the nearest patch that is denser; for the densest one, the largest distance of all
 *     centres = top-U of γ = ρ·δ, in raster order
 *     every patch to its nearest centre;  F' = the mean of each cluster        [B, U, D]
 *
 * The paper thresholds γ and so counts its tokens itself, from .5 up; here U of them, as the code does where no γ
 * passes. The code adds positions to F and noise to ρ, to break ties: here F is as it is, and of two patches equally
 * dense the lower index counts as denser. Its k is 64 of 729 patches, and k is an option here. SeTok then runs trained
 * transformers over each cluster; its plain mean is what is left. Exactly U; clusters share out all patches, so the
 * mean of the tokens, weighted by their sizes, is the mean of F. U = P changes nothing.
 */
import * as tf from '@tensorflow/tfjs-core';
import { squaredDistances } from '../tensor/similarity.ts';
import { argmax, checkCount, descending, readPictures } from './host.ts';
import { meanOf, mergePatches } from './merge.ts';
import type { VisionMethod } from './method.ts';

export const dpcKnn: VisionMethod<{ neighbours: number }> = {
  name: 'dpc-knn',
  paper: 'Towards Semantic Equivalence of Tokenization in Multimodal LLM (SeTok), arXiv 2406.05127',
  summary: 'clusters patches around dense ones that are far apart, and takes the mean of each cluster',
  where: 'vision',
  defaults: { neighbours: 5 },
  help: { neighbours: { text: 'k, how many nearest patches tell how dense it is around one' } },
  asks(_, { neighbours }) {
    checkCount('dpc-knn', 'neighbours', neighbours);
    return {};
  },
  async run(features, budget, { neighbours }) {
    const squares = tf.tidy(() => {
      const F = features.all();
      return tf.div(squaredDistances(F), F.shape[2]); // d², [B, P, P]
    });
    try {
      const pictures = await readPictures('distance', squares);
      const clusters = pictures.map((d2) => cluster(d2, pickCentres(d2, neighbours, budget)));
      return mergePatches(
        features,
        clusters.map((groups) => groups.map(meanOf)),
      );
    } finally {
      squares.dispose();
    }
  },
};

/**
 * The U patches with the largest γ, ascending.
 * @param d2 squared distances, [P, P]
 */
function pickCentres(d2: Float32Array, neighbours: number, U: number): number[] {
  const P = Math.sqrt(d2.length);
  const every = Array.from({ length: P }, (_, p) => p);
  const k = Math.min(neighbours, P);
  const density = every.map((p) => {
    const others = d2.slice(p * P, (p + 1) * P);
    others[p] = 0; // what rounding left
    const nearest = others.sort().subarray(0, k);
    return Math.exp(-nearest.reduce((sum, x) => sum + x, 0) / k);
  });
  const farthest = d2.reduce((most, x) => Math.max(most, x), 0);
  const gamma = Float32Array.from(every, (p) => {
    const denser = every.filter((q) => density[q] > density[p] || (density[q] === density[p] && q < p));
    const nearest = denser.reduce((least, q) => Math.min(least, d2[p * P + q]), farthest);
    return density[p] * Math.sqrt(nearest);
  });
  return descending(gamma)
    .slice(0, U)
    .sort((p, q) => p - q);
}

/** The patches of each centre, the centre among them. */
function cluster(d2: Float32Array, centres: readonly number[]): number[][] {
  const P = Math.sqrt(d2.length);
  const clusters = new Map(centres.map((centre): [number, number[]] => [centre, []]));
  for (let p = 0; p < P; p++) {
    const home = clusters.has(p) ? p : argmax(centres, (centre) => -d2[p * P + centre]);
    clusters.get(home)!.push(p);
  }
  return [...clusters.values()];
}
