import * as tf from '@tensorflow/tfjs-core';
import { activations } from '../tensor/activation.ts';
import { attend, mergeHeads, splitHeads } from '../tensor/attention.ts';
import { shape } from '../tensor/axes.ts';
import { linear } from '../tensor/linear.ts';
import { rmsNorm } from '../tensor/norm.ts';
import type { LayerCache } from './cache.ts';
import type { DecoderConfig } from './config.ts';
import { applyRope, type RopeRows } from './rope.ts';
import type { LlamaBlockWeights } from './weights.ts';

export type LlamaBlockOutput = {
  hidden: tf.Tensor3D; // [B, T, E]
  keys: tf.Tensor4D; // [B, G, past + T, C], already turned by RoPE
  values: tf.Tensor4D; // [B, G, past + T, C]
  attention?: tf.Tensor4D; // [B, H, T, past + T]
};

export interface LlamaBlockContext {
  rope: RopeRows; // of the T tokens' positions
  mask?: tf.Tensor2D | tf.Tensor4D; // [T, past + T], or [B, H, T, past + T] for items and heads that differ
  weights?: tf.Tensor4D; // broadcast to [B, H, T, past + T], times the attention
  heads?: tf.Tensor4D; // [B, H, T, 1], 0 where a token does without a head's output
  neurons?: tf.Tensor3D; // [B, T, M], 0 where a token does without an inner neuron
  past?: LayerCache;
  keepAttention?: boolean;
}

/**
 * One pre-norm transformer block:
 *
 *     x ← x + Attention(RMSNorm₁(x))
 *     x ← x + down(silu(gate(y)) ⊙ up(y)),  y = RMSNorm₂(x)        (SwiGLU)
 *
 * @param hidden [B, T, E], the tokens after those in `past`
 */
export function llamaBlock(
  weights: LlamaBlockWeights,
  hidden: tf.Tensor3D,
  config: DecoderConfig,
  { rope, mask, weights: times, heads, neurons, past, keepAttention }: LlamaBlockContext,
): LlamaBlockOutput {
  return tf.tidy(() => {
    shape({ hidden }, 'B T E', { E: config.hidden_size });
    const { num_attention_heads: H, num_key_value_heads: G, rms_norm_eps: eps } = config;
    const { q_proj, k_proj, v_proj, o_proj } = weights.self_attn;

    const x = rmsNorm(hidden, weights.input_layernorm, eps);
    const q = applyRope(splitHeads(linear(x, q_proj), H), rope); // [B, H, T, C]
    const newKeys = applyRope(splitHeads(linear(x, k_proj), G), rope); // [B, G, T, C]
    const newValues = splitHeads(linear(x, v_proj), G);
    const keys = past ? tf.concat([past.keys, newKeys], 2) : newKeys;
    const values = past ? tf.concat([past.values, newValues], 2) : newValues;
    const options = { mask, weights: times, keepProbabilities: keepAttention };
    const { context, probabilities } = attend(q, keys, values, options);
    const heard = heads ? tf.mul<tf.Tensor4D>(context, heads) : context; // [B, H, T, C]
    const afterAttention = tf.add(hidden, linear(mergeHeads(heard), o_proj));

    const y = rmsNorm(afterAttention, weights.post_attention_layernorm, eps);
    const { gate_proj, up_proj, down_proj } = weights.mlp;
    const gated = tf.mul(activations[config.hidden_act](linear(y, gate_proj)), linear(y, up_proj)); // [B, T, M]
    const used = neurons ? tf.mul(gated, neurons) : gated;
    const output: LlamaBlockOutput = {
      hidden: tf.add(afterAttention, linear(used, down_proj)),
      keys,
      values,
    };
    if (probabilities) output.attention = probabilities;
    return output;
  });
}

/**
 * The last token's row of the block's attention, before the block runs: for a method that cuts by it.
 * @param hidden [B, T, E], a whole prompt
 * @returns [B, H, T]
 */
export function attendFromLastToken(
  weights: LlamaBlockWeights,
  hidden: tf.Tensor3D,
  config: DecoderConfig,
  rope: RopeRows,
): tf.Tensor3D {
  return tf.tidy(() => {
    const { T } = shape({ hidden }, 'B T E', { E: config.hidden_size });
    const { num_attention_heads: H, num_key_value_heads: G, rms_norm_eps: eps } = config;
    const { q_proj, k_proj } = weights.self_attn;
    const x = rmsNorm(hidden, weights.input_layernorm, eps);
    const last = <X extends tf.Tensor>(tokens: X, axis: number): X => tf.gather<X>(tokens, [T - 1], axis);
    const lastRope = { cos: last(rope.cos, 2), sin: last(rope.sin, 2) };
    const q = applyRope(splitHeads(linear(last(x, 1), q_proj), H), lastRope); // [B, H, 1, C]
    const keys = applyRope(splitHeads(linear(x, k_proj), G), rope); // [B, G, T, C]
    const { probabilities } = attend(q, keys, keys, { keepProbabilities: true }); // the values play no part
    return tf.squeeze(probabilities!, [2]);
  });
}
