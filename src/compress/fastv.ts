/**
 * FastV: after the first layers the picture is hardly looked at; let the least looked-at part of it go.
 * "An Image is Worth 1/2 Tokens After Layer 2", arXiv 2403.06764, pkunlp-icler/FastV.
 *
 *     A    = mean over heads of attention[k − 1]          [B, T, T], the layer before the cut
 *     s_j  = A[T − 1, j]                 rows `last`: what the last token of the prompt gives to image token j
 *     s_j  = Σ_i A[i, j] / T             rows `all`: what all tokens give to it
 *     kept = sort(top-U of s)            layers 0 .. k − 1 see all P image tokens, layers k .. L − 1 those U
 *
 * | point | paper | released code | here |
 * | --- | --- | --- | --- |
 * | rows | mean of all tokens | the last token's | `last` by default, `all` as an option |
 * | layer k | 2 | 2 | 2 by default |
 * | count | ratio R filtered | top round(P·(1 − R)) | U, the budget |
 * | positions | unsaid | original | original |
 * | in place | once, at prefill | once, at prefill; some versions mask instead of cutting | once, at prefill; cut |
 * | batch, place of the picture | – | 1, after 35 tokens | any |
 *
 * The budget U is what is left after the cut: the first k layers still hold P, which the costs show.
 */
import * as tf from '@tensorflow/tfjs-core';
import { shape } from '../tensor/axes.ts';
import { checkWhole } from './checks.ts';
import { readPictures } from './host.ts';
import { countImage, ofImage } from './image-tokens.ts';
import type { Method } from './method.ts';
import { keepBest } from './top-k.ts';

const rowChoices = ['last', 'all'] as const;

export type FastvOptions = { layer: number; rows: (typeof rowChoices)[number] };

export const fastv: Method<FastvOptions> = {
  name: 'fastv',
  paper: 'An Image is Worth 1/2 Tokens After Layer 2, arXiv 2403.06764',
  summary: 'between two decoder layers, keeps the image tokens that the text attends to most',
  stages: ['between'],
  defaults: { layer: 2, rows: 'last' },
  help: {
    layer: { text: 'k, the first decoder layer that runs without the dropped tokens, counted from 0' },
    rows: {
      text: 'whose attention ranks: the last token’s (released code) or all tokens’ (paper)',
      choices: rowChoices,
    },
  },
  prepare({ decoderLayers }, budget, { layer, rows }) {
    const why = `it needs the layer before it, and the decoder has ${decoderLayers} layers`;
    checkWhole('fastv: layer', layer, 1, decoderLayers - 1, why);
    return {
      words: {
        'decoder.matrix.LL': `the ${budget} image tokens that ${rows === 'last' ? 'the last token gives' : 'all tokens give'} most in layer ${layer - 1}`,
      },
      between: () => ({
        needsAttention: (l) => l === layer,
        async cut(l, view) {
          if (l !== layer || countImage(view) <= budget) return undefined;
          const s = await readPictures('compress.scores', () =>
            ofImage(scoreTokens(view.attention!, rows), view),
          );
          return keepBest(s, budget).W;
        },
      }),
    };
  },
};

/**
 * How much each token is attended to: head mean of the last row, or of all rows.
 * @param attention [B, H, T, T]
 * @returns [B, T]
 */
export function scoreTokens(attention: tf.Tensor4D, rows: FastvOptions['rows']): tf.Tensor2D {
  return tf.tidy(() => {
    const { B, H, T } = shape({ attention }, 'B H T T');
    if (rows === 'all') return tf.mean(attention, [1, 2]);
    const last = tf.slice(attention, [0, 0, T - 1, 0], [B, H, 1, T]);
    return tf.mean(last, [1, 2]);
  });
}
