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

/** What one block returns; attention only where it was asked for. */
export type LlamaBlockOutput = {
  hidden: tf.Tensor3D; // [B, T, E]
  keys: tf.Tensor4D; // [B, G, past + T, C], already turned by RoPE
  values: tf.Tensor4D; // [B, G, past + T, C]
  attention?: tf.Tensor4D; // [B, H, T, past + T]
};

/** What a block needs besides its weights and input: positions, who looks where, what came before. */
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

    const x = rmsNorm(weights.input_layernorm, hidden, eps);
    const q = applyRope(splitHeads(linear(q_proj, x), H), rope); // [B, H, T, C]
    const newKeys = applyRope(splitHeads(linear(k_proj, x), G), rope); // [B, G, T, C]
    const newValues = splitHeads(linear(v_proj, x), G);
    const keys = past ? tf.concat([past.keys, newKeys], 2) : newKeys;
    const values = past ? tf.concat([past.values, newValues], 2) : newValues;
    const options = { mask, weights: times, keepProbabilities: keepAttention };
    const { context, probabilities } = attend(q, keys, values, options);
    const heard = heads ? tf.mul<tf.Tensor4D>(context, heads) : context; // [B, H, T, C]
    const afterAttention = tf.add(hidden, linear(o_proj, mergeHeads(heard)));

    const y = rmsNorm(weights.post_attention_layernorm, afterAttention, eps);
    const { gate_proj, up_proj, down_proj } = weights.mlp;
    const gated = tf.mul(activations[config.hidden_act](linear(gate_proj, y)), linear(up_proj, y)); // [B, T, M]
    const used = neurons ? tf.mul(gated, neurons) : gated;
    const output: LlamaBlockOutput = {
      hidden: tf.add(afterAttention, linear(down_proj, used)),
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
    const x = rmsNorm(weights.input_layernorm, hidden, eps);
    const last = <X extends tf.Tensor>(tokens: X, axis: number): X => tf.gather<X>(tokens, [T - 1], axis);
    const lastRope = { cos: last(rope.cos, 2), sin: last(rope.sin, 2) };
    const q = applyRope(splitHeads(linear(q_proj, last(x, 1)), H), lastRope); // [B, H, 1, C]
    const keys = applyRope(splitHeads(linear(k_proj, x), G), rope); // [B, G, T, C]
    const { probabilities } = attend(q, keys, keys, { keepProbabilities: true }); // the values play no part
    return tf.squeeze(probabilities!, [2]);
  });
}
