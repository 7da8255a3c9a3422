import * as tf from '@tensorflow/tfjs-core';
import { shape } from './axes.ts';

/** A dense layer. PyTorch stores [out, in] and computes x·Wᵀ; here W is stored [in, out] and used as it lies. */
export interface Linear {
  weight: tf.Tensor2D;
  bias?: tf.Tensor1D;
}

/** PyTorch's [out, in] matrix → the layout {@link linear} multiplies by. Done once, at load. */
export function toLinearWeight(values: Float32Array, [out, inner]: readonly number[]): tf.Tensor2D {
  return tf.tidy(() => tf.transpose(tf.tensor2d(values, [out, inner])));
}

/**
 * y = x·W + b over the last axis.
 * @param x [..., in]
 * @returns [..., out]
 */
export function linear<T extends tf.Tensor>(x: T, { weight, bias }: Linear): T {
  return tf.tidy(() => {
    const [inner, out] = weight.shape;
    shape({ x: { shape: x.shape.slice(-1) } }, 'in', { in: inner });
    const rows = tf.reshape(x, [-1, inner]); // 2-D × 2-D: the one product that is fast on every backend
    // The bias is added apart: fused.matMul gives wrong numbers on some wasm paths.
    const product = tf.matMul(rows, weight);
    const y = bias ? tf.add(product, bias) : product;
    return tf.reshape(y, [...x.shape.slice(0, -1), out]) as T;
  });
}

/**
 * Rows of an embedding table.
 * @param ids [B, T] int32
 * @param table [V, E]
 * @returns [B, T, E]
 */
export function embed(ids: tf.Tensor2D, table: tf.Tensor2D): tf.Tensor3D {
  return tf.gather<tf.Tensor>(table, ids) as tf.Tensor3D;
}
