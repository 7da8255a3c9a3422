import * as tf from '@tensorflow/tfjs-core';
import { shape } from '../tensor/axes.ts';
import type { DecoderConfig } from './config.ts';

/**
 * Rotary position embedding (Su et al., 2104.09864). Channel pair i of a query or key at position p turns by the
 * angle p·θᵢ with θᵢ = rope_theta^(−2i/C), so that q·k depends on the two positions' difference only.
 *
 * Two layouts exist. The paper and Meta's code pair neighbours (2i, 2i+1), "interleaved"; Hugging Face permutes the
 * weights and pairs halves (i, i + C/2), "rotate-half". Hugging Face checkpoints need the second: this file.
 */
export interface Rope {
  cos: tf.Tensor2D; // [length, C/2]
  sin: tf.Tensor2D; // [length, C/2]
}

/** θ, the turn a position of each channel pair, in radians: [C/2]. Rounded to float32, as Hugging Face does. */
export function ropeFrequencies({ head_dim, rope_theta, rope_scaling }: DecoderConfig): Float32Array {
  const base = Float32Array.from({ length: head_dim / 2 }, (_, i) => rope_theta ** ((-2 * i) / head_dim));
  switch (rope_scaling.rope_type) {
    case 'default':
      return base;
    case 'linear': // positions squeezed by the factor (position interpolation, 2306.15595)
      return base.map((theta) => theta / rope_scaling.factor);
    case 'llama3': {
      // Llama 3.1: short wavelengths stay, long ones are squeezed by the factor, those between are blended.
      const { factor, low_freq_factor: low, high_freq_factor: high } = rope_scaling;
      return base.map((theta) => {
        const turns = (rope_scaling.original_max_position_embeddings * theta) / (2 * Math.PI);
        if (turns > high) return theta;
        if (turns < low) return theta / factor;
        const blend = (turns - low) / (high - low);
        return (1 - blend) * (theta / factor) + blend * theta;
      });
    }
  }
}

/** The cosines and sines of positions 0 .. length − 1. */
export function createRope(config: DecoderConfig, length: number): Rope {
  const theta = ropeFrequencies(config);
  const half = theta.length;
  const cos = new Float32Array(length * half);
  const sin = new Float32Array(length * half);
  for (let p = 0; p < length; p++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(p * theta[i]); // float32 angles, as Hugging Face has them
      cos[p * half + i] = Math.cos(angle);
      sin[p * half + i] = Math.sin(angle);
    }
  }
  return { cos: tf.tensor2d(cos, [length, half]), sin: tf.tensor2d(sin, [length, half]) };
}

/** The cosines and sines of some tokens. */
export type RopeRows = {
  cos: tf.Tensor4D; // [B, 1, T, C/2]
  sin: tf.Tensor4D; // [B, 1, T, C/2]
};

/** The table's rows at positions [B, T] int32. */
export function ropeAt({ cos, sin }: Rope, positions: tf.Tensor2D): RopeRows {
  return tf.tidy(() => {
    const { B, T } = shape({ positions }, 'B T');
    const flat = tf.reshape(positions, [B * T]);
    const rows = (table: tf.Tensor2D): tf.Tensor4D =>
      tf.reshape(tf.gather(table, flat), [B, 1, T, table.shape[1]]);
    return { cos: rows(cos), sin: rows(sin) };
  });
}

/**
 * Turns queries or keys, rotate-half layout: with x = [x₁ | x₂],
 *
 *     y = [x₁·cos − x₂·sin | x₂·cos + x₁·sin]
 *
 * @param x [B, H, T, C]
 */
export function applyRope(x: tf.Tensor4D, { cos, sin }: RopeRows): tf.Tensor4D {
  return tf.tidy(() => {
    const { C } = shape({ x }, 'B H T C');
    const [x1, x2] = tf.split(x, 2, 3); // [B, H, T, C/2] each
    shape({ cos }, 'B 1 T half', { half: C / 2 });
    return tf.concat([tf.sub(tf.mul(x1, cos), tf.mul(x2, sin)), tf.add(tf.mul(x2, cos), tf.mul(x1, sin))], 3);
  });
}
