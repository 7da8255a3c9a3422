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
 * dense the lower index counts as denser. Its k is 64 of 729 patches; k is an option here, 5 by default. SeTok then runs
 * trained transformers over each cluster; its plain mean is what is left. Exactly U; clusters share out all patches, so the
 * mean of the tokens, weighted by their sizes, is the mean of F. U = P changes nothing.
 */
import * as tf from '@tensorflow/tfjs-core';
import { squaredDistances } from '../tensor/similarity.ts';
import { matrixOf, meanOf } from '../tensor/token-matrix.ts';
import { checkWhole } from './checks.ts';
import { clusterByDensity } from './density-peaks.ts';
import { readPictures } from './host.ts';
import type { Method } from './method.ts';

export const dpcKnn: Method<{ neighbours: number }> = {
  name: 'dpc-knn',
  paper: 'Towards Semantic Equivalence of Tokenization in Multimodal LLM (SeTok), arXiv 2406.05127',
  summary: 'clusters patches around dense ones that are far apart, and takes the mean of each cluster',
  stages: ['before'],
  makesTokens: true,
  means: true,
  defaults: { neighbours: 5 },
  help: { neighbours: { text: 'k, how many nearest patches tell how dense it is around one' } },
  prepare({ patches: P }, budget, { neighbours }) {
    checkWhole('dpc-knn: neighbours', neighbours, 1);
    return {
      words: {
        'compress.matrix': `${budget} dense patches far from denser ones; each becomes the mean of what is nearest`,
      },
      async choose({ F }) {
        const D = F.shape[2];
        const pictures = await readPictures('distance', () => tf.div(squaredDistances(F), D)); // d², [B, P, P]
        const clusters = pictures.map((d2) => clusterByDensity(Float64Array.from(d2), neighbours, budget));
        return {
          W: matrixOf(
            clusters.map((groups) => groups.map(meanOf)),
            P,
          ),
        };
      },
    };
  },
};
