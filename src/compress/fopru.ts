/**
 * FoPru: keep the patches that the vision encoder's patches attend to, one by one or by rows of the grid.
 * "FoPru: Focal Pruning for Efficient Large Vision-Language Models", 2411.14164.
 *
 *     A    = mean over heads of attention[l][:, :, 1:, 1:]     [B, P, P], l the layer whose output is selected
 *     s₁   = mean of A over queries: attention received        [B, P]
 *     s₂   = mean of A over keys: attention paid               [B, P]
 *     σ    = s₁ or s₂, whichever varies more over the picture's patches
 *     rank   kept = sort(top-U of σ)
 *     row    Σ σ over each grid row of G patches; the best ⌊U / G⌋ rows stay whole
 *
 * A full row of attention sums to 1, so s₂ varies only because [CLS] is cut off. Which layer the paper takes is not
 * sure; here it is the selected one, as in its peers. `rank` keeps exactly U; `row` ⌊U / G⌋·G, at most U, and refuses
 * a budget below one row. U = P changes nothing.
 */
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { shape } from '../tensor/axes.ts';
import { picking } from '../tensor/token-matrix.ts';
import { readPictures } from './host.ts';
import type { Method } from './method.ts';
import { gridOf, onlyLayer, selectedLayer } from './selected-layer.ts';
import { keepBest, keepTopK } from './top-k.ts';

const strategies = ['rank', 'row'] as const;

export const fopru: Method<{ strategy: (typeof strategies)[number] }> = {
  name: 'fopru',
  paper: 'FoPru: Focal Pruning for Efficient Large Vision-Language Models, arXiv 2411.14164',
  summary: 'keeps the patches, or rows of patches, that the patches themselves attend to most',
  stages: ['before'],
  defaults: { strategy: 'rank' },
  help: { strategy: { text: 'single patches or whole rows of the grid', choices: strategies } },
  prepare(source, budget, { strategy }) {
    const G = gridOf(source, 'fopru');
    if (strategy === 'row' && budget < G) {
      throw new UserError(
        `fopru: a budget of ${budget} patches holds no whole row of ${G}; use strategy=rank`,
      );
    }
    return {
      words: {
        'compress.matrix': `the ${strategy === 'rank' ? `${budget} patches` : `${Math.floor(budget / G)} rows of the grid`} that patches attend to most`,
      },
      needs: { attention: [selectedLayer(source, 'fopru')] },
      leaves: strategy === 'row' ? Math.floor(budget / G) * G : budget,
      async choose({ attention }) {
        const scores = await readPictures('compress.scores', () =>
          scoreByPatches(onlyLayer(attention), source.prefixTokens),
        ); // σ
        if (strategy === 'rank') return keepBest(scores, budget);
        const choices = keepTopK(
          scores.map((row) => sumRows(row, G)),
          Math.floor(budget / G),
        );
        const patches = choices.map((rows) =>
          rows.flatMap((row) => Array.from({ length: G }, (_, column) => row * G + column)),
        );
        return { W: picking(patches, source.patches), scores };
      },
    };
  },
};

/**
 * σ, the attention that patches receive from patches or pay to them, whichever tells them better apart.
 * @param attention [B, H, N, N]
 * @returns [B, P]
 */
export function scoreByPatches(attention: tf.Tensor4D, prefixTokens: 0 | 1): tf.Tensor2D {
  return tf.tidy(() => {
    const { B, N } = shape({ attention }, 'B H N N');
    const heads = tf.mean(attention, 1); // [B, N, N]
    const P = N - prefixTokens;
    const A = tf.slice(heads, [0, prefixTokens, prefixTokens], [B, P, P]); // query, key
    const received: tf.Tensor2D = tf.mean(A, 1);
    const paid: tf.Tensor2D = tf.mean(A, 2);
    const varies = (scores: tf.Tensor2D) => tf.moments(scores, 1, true).variance; // [B, 1]
    const byReceived = tf.greaterEqual(varies(received), varies(paid));
    return tf.where(tf.tile(byReceived, [1, P]), received, paid);
  });
}

/** Σ σ over each row of a picture's grid, in float32. */
const sumRows = (scores: Float32Array, G: number): Float32Array =>
  Float32Array.from({ length: G }, (_, row) =>
    scores.subarray(row * G, (row + 1) * G).reduce((sum, score) => Math.fround(sum + score), 0),
  );
