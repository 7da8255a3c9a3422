import * as tf from '@tensorflow/tfjs-core';
import { activations } from '../tensor/activation.ts';
import { attend, attendRow, mergeHeads, splitHeads } from '../tensor/attention.ts';
import { shape } from '../tensor/axes.ts';
import { gatherTokens } from '../tensor/gather.ts';
import { linear } from '../tensor/linear.ts';
import { layerNorm } from '../tensor/norm.ts';
import type { ClipVisionConfig } from './config.ts';
import type { ClipBlockWeights } from './weights.ts';

/** What a block reads of a tower's config; the same for both of CLIP's towers. */
export type ClipBlockConfig = Pick<
  ClipVisionConfig,
  'hidden_size' | 'num_attention_heads' | 'layer_norm_eps' | 'hidden_act'
>;

/** What one block returns; attention only where it was asked for. */
export type ClipBlockOutput = {
  hidden: tf.Tensor3D; // [B, N, D]
  attention?: tf.Tensor4D; // [B, H, N, N], after the softmax
  clsAttention?: tf.Tensor3D; // [B, H, P], the [CLS] query's row without its own column
  keys?: tf.Tensor4D; // [B, H, N, C]
};

/** What a block is to return besides its output, and its mask. */
export interface ClipBlockNeeds {
  attention?: boolean;
  /** The [CLS] row alone: it costs one row, not N. */
  clsAttention?: boolean;
  keys?: boolean;
  /** [N, N], added to the attention scores: the text tower's causal mask. */
  mask?: tf.Tensor2D;
}

/**
 * One pre-norm transformer block:
 *
 *     x ← x + Attention(LayerNorm₁(x))
 *     x ← x + fc2(act(fc1(LayerNorm₂(x))))
 *
 * @param hidden [B, N, D]
 */
export function clipBlock(
  weights: ClipBlockWeights,
  hidden: tf.Tensor3D,
  config: ClipBlockConfig,
  needs: ClipBlockNeeds = {},
): ClipBlockOutput {
  return tf.tidy(() => {
    const open = openBlock(weights, hidden, config);
    const { hidden: mixed, attention } = attendOpen(weights, open, config, needs);
    const output: ClipBlockOutput = { hidden: feedForward(weights, mixed, config) };
    if (attention) output.attention = attention;
    if (needs.clsAttention) output.clsAttention = readClsAttention(weights, open, config);
    if (needs.keys) output.keys = open.keys;
    return output;
  });
}

/** The first part of a block: what every token offers to the others. */
export type OpenBlock = {
  hidden: tf.Tensor3D; // [B, N, D]
  normed: tf.Tensor3D; // [B, N, D] LayerNorm₁ of it
  keys: tf.Tensor4D; // [B, H, N, C]
  values: tf.Tensor4D; // [B, H, N, C]
};

/**
 * A block's keys and values.
 * @param hidden [B, N, D]
 */
export function openBlock(
  { layer_norm1, self_attn }: ClipBlockWeights,
  hidden: tf.Tensor3D,
  { hidden_size: D, num_attention_heads: H, layer_norm_eps }: ClipBlockConfig,
): OpenBlock {
  return tf.tidy(() => {
    shape({ hidden }, 'B N D', { D });
    const normed = layerNorm(layer_norm1, hidden, layer_norm_eps);
    const keys = splitHeads(linear(self_attn.k_proj, normed), H);
    const values = splitHeads(linear(self_attn.v_proj, normed), H);
    return { hidden: hidden.clone(), normed, keys, values };
  });
}

/**
 * Some of its tokens: they look at all, but only they become something.
 * @param tokens [B, U] int32, their places among the N
 */
export const takeTokens = (open: OpenBlock, tokens: tf.Tensor2D): OpenBlock => ({
  ...open,
  hidden: gatherTokens(open.hidden, tokens), // [B, U, D]
  normed: gatherTokens(open.normed, tokens),
});

/** x + Attention(LayerNorm₁(x)). @param needs a `keyBias` [B, N] is added to the scores of each key */
export function attendOpen(
  { self_attn }: ClipBlockWeights,
  { hidden, normed, keys, values }: OpenBlock,
  { num_attention_heads: H }: ClipBlockConfig,
  { mask, attention, keyBias }: ClipBlockNeeds & { keyBias?: tf.Tensor2D } = {},
): ClipBlockOutput {
  return tf.tidy(() => {
    const queries = splitHeads(linear(self_attn.q_proj, normed), H); // [B, H, U, C]
    const options = { mask, keyBias, keepProbabilities: attention };
    const { context, probabilities } = attend(queries, keys, values, options);
    const output: ClipBlockOutput = {
      hidden: tf.add(hidden, linear(self_attn.out_proj, mergeHeads(context))),
    };
    if (probabilities) output.attention = probabilities;
    return output;
  });
}

/** x + fc2(act(fc1(LayerNorm₂(x)))). @param x [B, N, D] */
export function feedForward(
  { layer_norm2, mlp }: ClipBlockWeights,
  x: tf.Tensor3D,
  { layer_norm_eps, hidden_act }: ClipBlockConfig,
): tf.Tensor3D {
  return tf.tidy(() => {
    const y = layerNorm(layer_norm2, x, layer_norm_eps);
    return tf.add(x, linear(mlp.fc2, activations[hidden_act](linear(mlp.fc1, y))));
  });
}

/** The attention of [CLS], which stands first: one query a head, [B, H, P]. */
export function readClsAttention(
  { self_attn }: ClipBlockWeights,
  { normed, keys }: OpenBlock,
  { num_attention_heads: H }: ClipBlockConfig,
): tf.Tensor3D {
  return tf.tidy(() => {
    const { B, N, C } = shape({ keys }, 'B H N C', { H });
    const cls = tf.slice(normed, [0, 0, 0], [B, 1, H * C]);
    const query: tf.Tensor3D = tf.reshape(linear(self_attn.q_proj, cls), [B, H, C]);
    const row = attendRow(query, keys); // [B, H, N]: sums to 1 over all N tokens
    return tf.slice(row, [0, 0, 1], [B, H, N - 1]); // its own column is dropped, not renormalised
  });
}
