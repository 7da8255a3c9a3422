/**
 * PyramidDrop: the deeper the layer, the fewer image tokens it needs; drop a share of them after every stage.
 * "PyramidDrop: Accelerating Your Large Vision-Language Models via Pyramid Visual Redundancy Reduction",
 * arXiv 2410.17247, Cooperx521/PyramidDrop.
 *
 *     stages   layers 0 .. L − 1 in S equal parts; the cuts stand before layers ⌊i·L/S⌉, i = 1 .. S − 1
 *     s_j    = mean over heads of softmax(q_last · Kᵀ / √C)[j]     q, K of the layer that comes, over the state before it
 *     kept   = sort(top-n_i of s)                                  of the image tokens that are left
 *     n_i    = ⌊P·λ^i⌋                                             the paper: λ = .5
 *
 * | point | released code | here |
 * | --- | --- | --- |
 * | cuts | before layers 8, 16, 24 of 32 | S = 4 stages of any depth, an option |
 * | counts | P·.5, P·.25, P·.125, rounded down | n_i = round(P·(U/P)^(i/(S − 1))): the budget U is what the last stage holds |
 * | score | the coming layer's own query and keys | the same; the prompt's last token is the query |
 * | positions | renumbered 0, 1, 2, … after a cut, and decoding goes on right behind (modeling_llama_pdrop.py 1259-1268) | original |
 * | in training too | yes | no: as released without training, at prefill |
 *
 * The released counts are U = P/8. Fewer than S layers leave some stages empty: the later cut at a layer then counts.
 * Renumbering gives the answer's tokens positions that the text before them had in the earlier layers' caches; so here
 * positions stay.
 */
import * as tf from '@tensorflow/tfjs-core';
import { checkWhole } from './checks.ts';
import { readPictures } from './host.ts';
import { countImage, ofImage } from './image-tokens.ts';
import type { Method } from './method.ts';
import { keepBest } from './top-k.ts';

export const pyramiddrop: Method<{ stages: number }> = {
  name: 'pyramiddrop',
  paper:
    'PyramidDrop: Accelerating Your Large Vision-Language Models via Pyramid Visual Redundancy Reduction, arXiv 2410.17247',
  summary: 'drops image tokens after each stage of the decoder, by the last token’s attention',
  stages: ['between'],
  defaults: { stages: 4 },
  help: { stages: { text: 'S, how many equal parts of the decoder; the last one holds the budget' } },
  prepare({ decoderLayers: L, visualTokens: P }, budget, { stages }) {
    checkWhole('pyramiddrop: stages', stages, 2, L, `the decoder has ${L} layers`);
    const counts = stageCounts(L, P, budget, stages);
    return {
      words: {
        'decoder.matrix.LL': `those that the last token looks at most: ${[...counts].map(([l, n]) => `${n} from layer ${l}`).join(', ')}`,
      },
      between: () => ({
        async cut(l, view) {
          const count = counts.get(l);
          if (count === undefined || countImage(view) <= count) return undefined;
          const s = await readPictures('compress.scores', () =>
            ofImage(tf.mean<tf.Tensor2D>(view.attendFromLast(), 1), view),
          ); // [B, P']
          return keepBest(s, count).W;
        },
      }),
    };
  },
};

/** n_i before layer ⌊i·L/S⌉: geometric from P to U. */
export function stageCounts(L: number, P: number, U: number, S: number): Map<number, number> {
  const cuts = Array.from({ length: S - 1 }, (_, i) => i + 1);
  return new Map(
    cuts.map((i) => [Math.round((i * L) / S), Math.max(1, Math.round(P * (U / P) ** (i / (S - 1))))]),
  );
}
