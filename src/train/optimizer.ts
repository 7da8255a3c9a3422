import * as tf from '@tensorflow/tfjs-core';

/** What an update changes, each [n]: the weights and the running means of their gradient and of its square. */
export type OptimizerState = {
  weights: tf.Tensor1D;
  mean: tf.Tensor1D;
  square: tf.Tensor1D;
};

export interface AdamwOptions {
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  /** A longer gradient is shortened to this length. */
  clip: number;
}

export function startOptimizer(weights: tf.Tensor1D): OptimizerState {
  return { weights, mean: tf.zerosLike(weights), square: tf.zerosLike(weights) };
}

/**
 * AdamW (Loshchilov & Hutter, 1711.05101), as PyTorch computes it, after clipping the gradient's global norm:
 *
 *     g ← g · min(1, clip / |g|)
 *     m ← β₁·m + (1 − β₁)·g          v ← β₂·v + (1 − β₂)·g²
 *     w ← w − lr · λ·w·decays        decay is decoupled: it does not go through m and v
 *     w ← w − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
 *
 * @param gradient [n]
 * @param decays [n], 1 where the weights decay, else 0
 * @param step t, from 1
 * @param rate lr
 * @returns the new state; the old one is not disposed
 */
export function adamw(
  state: OptimizerState,
  gradient: tf.Tensor1D,
  decays: tf.Tensor1D,
  step: number,
  rate: number,
  { beta1, beta2, epsilon, weightDecay, clip }: AdamwOptions,
): OptimizerState {
  return tf.tidy(() => {
    const norm = tf.sqrt(tf.sum(tf.square(gradient)));
    const g = tf.mul(gradient, tf.minimum(1, tf.div(clip, tf.add(norm, 1e-6)))); // PyTorch's 1e-6
    const mean: tf.Tensor1D = tf.add(tf.mul(state.mean, beta1), tf.mul(g, 1 - beta1));
    const square: tf.Tensor1D = tf.add(tf.mul(state.square, beta2), tf.mul(tf.square(g), 1 - beta2));
    const denominator = tf.add(tf.sqrt(tf.mul(square, 1 / (1 - beta2 ** step))), epsilon);
    const move = tf.div(tf.mul(mean, rate / (1 - beta1 ** step)), denominator);
    const kept = tf.mul(state.weights, tf.sub(1, tf.mul(decays, rate * weightDecay)));
    return { weights: tf.sub(kept, move), mean, square };
  });
}
