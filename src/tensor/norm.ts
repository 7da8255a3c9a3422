import * as tf from '@tensorflow/tfjs-core';
import { shape } from './axes.ts';

/** A kernel that TensorFlow.js lacks and a backend may bring. Inputs x [.., T, D], weight [D], bias [D]; attribute eps. */
export const layerNormKernel = 'LayerNorm';

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
export function layerNorm<T extends tf.Tensor>({ weight, bias }: LayerNorm, x: T, eps: number): T {
  return tf.tidy(() => {
    shape({ x: { shape: x.shape.slice(-1) } }, 'D', { D: weight.shape[0] });
    const inOne = tf.getKernel(layerNormKernel, tf.getBackend()) && (x.rank === 2 || x.rank === 3);
    return (inOne ? layerNormInOne : layerNormInSteps)(x, weight, bias, eps);
  });
}

/** x̂ = (x − mean) / √(variance + eps), and what it was scaled by. */
function standardize<T extends tf.Tensor>(x: T, eps: number): { standard: T; scale: tf.Tensor } {
  const centred = tf.sub(x, tf.mean(x, -1, true));
  const variance = tf.mean(tf.square(centred), -1, true);
  const scale = tf.rsqrt(tf.add(variance, eps)); // [..., 1]
  return { standard: tf.mul(centred, scale), scale };
}

function layerNormInSteps<T extends tf.Tensor>(x: T, weight: tf.Tensor, bias: tf.Tensor, eps: number): T {
  return tf.add(tf.mul(standardize(x, eps).standard, weight), bias);
}

/** One kernel instead of eight. Such a kernel has no gradient until one is given. */
function layerNormInOne<T extends tf.Tensor>(x: T, weight: tf.Tensor, bias: tf.Tensor, eps: number): T {
  const run = tf.customGrad((...args) => {
    const [x, weight, bias, save] = args as [T, tf.Tensor, tf.Tensor, tf.GradSaveFunc];
    save([x, weight]);
    const value: T = tf.engine().runKernel(layerNormKernel, { x, weight, bias }, { eps });
    const gradFunc = (dy: T, [x, weight]: tf.Tensor[]) => layerNormGradient(dy, x, weight, eps);
    return { value, gradFunc };
  });
  return run(x, weight, bias);
}

/** With g = dy·weight: dx = (g − mean(g) − x̂·mean(g·x̂)) · scale, dweight = Σ dy·x̂, dbias = Σ dy over the rows. */
function layerNormGradient(dy: tf.Tensor, x: tf.Tensor, weight: tf.Tensor, eps: number): tf.Tensor[] {
  const { standard, scale } = standardize(x, eps);
  const g = tf.mul(dy, weight);
  const along = tf.mul(standard, tf.mean(tf.mul(g, standard), -1, true));
  const dx = tf.mul(tf.sub(tf.sub(g, tf.mean(g, -1, true)), along), scale);
  const rows = x.shape.slice(0, -1).map((_, axis) => axis);
  return [dx, tf.sum(tf.mul(dy, standard), rows), tf.sum(dy, rows)];
}

/**
 * RMSNorm(x) = x / √(mean(x²) + eps) · weight over the last axis (Zhang & Sennrich, 1910.07467).
 * @param weight [E]
 * @param x [..., E]
 */
export function rmsNorm<T extends tf.Tensor>(weight: tf.Tensor1D, x: T, eps: number): T {
  return tf.tidy(() => {
    shape({ x: { shape: x.shape.slice(-1) } }, 'E', { E: weight.shape[0] });
    const meanSquare = tf.mean(tf.square(x), -1, true); // [..., 1]
    return tf.mul(tf.mul(x, tf.rsqrt(tf.add(meanSquare, eps))), weight);
  });
}
