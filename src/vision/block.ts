import * as tf from '@tensorflow/tfjs-core';
import { activations } from '../tensor/activation.ts';
import { attend, attendRow, mergeHeads, splitHeads } from '../tensor/attention.ts';
import { shape } from '../tensor/axes.ts';
import { linear } from '../tensor/linear.ts';
import { layerNorm } from '../tensor/norm.ts';
import type { ClipVisionConfig } from './config.ts';
import type { ClipBlockWeights } from './weights.ts';

/** What one block returns; attention only where it was asked for. */
export type ClipBlockOutput = {
  hidden: tf.Tensor3D; // [B, N, D]
  attention?: tf.Tensor4D; // [B, H, N, N], after the softmax
  clsAttention?: tf.Tensor3D; // [B, H, P], the [CLS] query's row without its own column
};

/**
 * One pre-norm transformer block:
 *
 *     x ← x + Attention(LayerNorm₁(x))
 *     x ← x + fc2(act(fc1(LayerNorm₂(x))))
 *
 * @param hidden [B, N, D]
 * @param ask which attention to return beside the new hidden state; the [CLS] row alone costs one row, not N
 */
export function clipBlock(
  weights: ClipBlockWeights,
  hidden: tf.Tensor3D,
  config: ClipVisionConfig,
  ask: { attention?: boolean; clsAttention?: boolean } = {},
): ClipBlockOutput {
  return tf.tidy(() => {
    const { B, N, D } = shape({ hidden }, 'B N D', { D: config.hidden_size });
    const H = config.num_attention_heads;
    const eps = config.layer_norm_eps;
    const { q_proj, k_proj, v_proj, out_proj } = weights.self_attn;

    const x = layerNorm(hidden, weights.layer_norm1, eps);
    const q = splitHeads(linear(x, q_proj), H); // [B, H, N, C]
    const k = splitHeads(linear(x, k_proj), H);
    const v = splitHeads(linear(x, v_proj), H);
    const { context, probabilities } = attend(q, k, v, { keepProbabilities: ask.attention });
    const afterAttention = tf.add(hidden, linear(mergeHeads(context), out_proj));

    const y = layerNorm(afterAttention, weights.layer_norm2, eps);
    const mlp = linear(activations[config.hidden_act](linear(y, weights.mlp.fc1)), weights.mlp.fc2);
    const output: ClipBlockOutput = { hidden: tf.add(afterAttention, mlp) };

    if (probabilities) output.attention = probabilities;
    if (ask.clsAttention) {
      const clsQuery = tf.reshape(tf.slice(q, [0, 0, 0, 0], [B, H, 1, D / H]), [B, H, D / H]);
      const row = attendRow(clsQuery as tf.Tensor3D, k); // [B, H, N]: sums to 1 over all N tokens
      output.clsAttention = tf.slice(row, [0, 0, 1], [B, H, N - 1]); // its own column is dropped, not renormalised
    }
    return output;
  });
}
