import * as tf from '@tensorflow/tfjs-core';
import { shape } from './axes.ts';

/** Layer norm's gain and bias, each [D]. */
export interface LayerNorm {
  weight: tf.Tensor1D;
  bias: tf.Tensor1D;
}

/**
 * LayerNorm(x) = (x − mean) / √(variance + eps) · weight + bias over the last axis; the variance is the biased one,
 * as in PyTorch.
 * @param x [..., D]
 */
export function layerNorm<T extends tf.Tensor>(x: T, { weight, bias }: LayerNorm, eps: number): T {
  return tf.tidy(() => {
    shape({ x: { shape: x.shape.slice(-1) } }, 'D', { D: weight.shape[0] });
    const centred = tf.sub(x, tf.mean(x, -1, true));
    const variance = tf.mean(tf.square(centred), -1, true);
    const scale = tf.rsqrt(tf.add(variance, eps)); // [..., 1]
    return tf.add(tf.mul(tf.mul(centred, scale), weight), bias);
  });
}

/**
 * RMSNorm(x) = x / √(mean(x²) + eps) · weight over the last axis (Zhang & Sennrich, 1910.07467).
 * @param x [..., E]
 * @param weight [E]
 */
export function rmsNorm<T extends tf.Tensor>(x: T, weight: tf.Tensor1D, eps: number): T {
  return tf.tidy(() => {
    shape({ x: { shape: x.shape.slice(-1) } }, 'E', { E: weight.shape[0] });
    const meanSquare = tf.mean(tf.square(x), -1, true); // [..., 1]
    return tf.mul(tf.mul(x, tf.rsqrt(tf.add(meanSquare, eps))), weight);
  });
}
