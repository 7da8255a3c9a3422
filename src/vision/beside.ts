import * as tf from '@tensorflow/tfjs-core';
import { shape } from '../tensor/axes.ts';
import { attendOpen, feedForward, openBlock } from './block.ts';
import type { ClipVision } from './clip.ts';
import { normEmbedding } from './embeddings.ts';

/**
 * Tokens of one's own beside the tower's, under an isolated mask: they look at the tower's tokens and at each other, and
 * none of the tower's looks at them. So the tower need not run again: what enters each of its layers is enough.
 *
 *     s ← LayerNorm_pre(tokens)
 *     s ← the layer's block, its queries of s, its keys and values of [x_l; s]            for l = 0 .. layers − 1
 *
 * @param hidden x_l [B, N, D] by layer, each layer's input
 * @param tokens [U, D], the same for all pictures; they have no positions
 * @param layers how many of the tower's layers they go through
 * @returns [B, U, D]
 */
export function runBeside(
  { config, weights }: ClipVision,
  hidden: ReadonlyMap<number, tf.Tensor3D>,
  tokens: tf.Tensor2D,
  layers: number,
): tf.Tensor3D {
  return tf.tidy(() => {
    const { B, N, D } = shape({ hidden: hidden.get(0)! }, 'B N D', { D: config.hidden_size });
    const { U } = shape({ tokens }, 'U D', { D });
    const first = normEmbedding(weights, tf.reshape(tokens, [1, U, D]), config);
    let s: tf.Tensor3D = tf.tile(first, [B, 1, 1]);
    for (let l = 0; l < layers; l++) {
      const open = openBlock(weights.layers[l], tf.concat([hidden.get(l)!, s], 1), config);
      const own = (x: tf.Tensor3D) => tf.slice(x, [0, N, 0], [B, U, D]);
      const queries = { ...open, hidden: own(open.hidden), normed: own(open.normed) };
      s = feedForward(weights.layers[l], attendOpen(weights.layers[l], queries, config).hidden, config);
    }
    return s;
  });
}
