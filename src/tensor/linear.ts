import * as tf from '@tensorflow/tfjs-core';
import { shape } from './axes.ts';
import { isHalf, rowsOfHalf, timesHalf, type HalfMatrix } from './half.ts';
import { backendTraits } from './traits.ts';

/**
 * A matrix [in, out], or its columns in blocks [in, out₁], [in, out₂], … that a product goes through one by one. Blocks
 * are for wasm, where a product slows down by a third once the matrix is larger than the processor's cache. Or as a 16-bit file
 * holds it.
 */
export type Matrix = tf.Tensor2D | tf.Tensor2D[] | HalfMatrix;

/** An embedding's table [V, E], or as a 16-bit file holds it. */
export type Table = tf.Tensor2D | HalfMatrix;

/** A dense layer. PyTorch stores [out, in] and computes x·Wᵀ; here W is stored [in, out] and used as it lies. */
export interface Linear {
  weight: Matrix;
  bias?: tf.Tensor1D;
}

/** PyTorch's [out, in] matrix → [in, out]. Done once, at load. */
export function toLinearWeight(values: Float32Array, [out, inner]: readonly number[]): tf.Tensor2D {
  return tf.tidy(() => tf.transpose(tf.tensor2d(values, [out, inner])));
}

/**
 * The same in the column blocks that suit the running backend, each of them transposed apart: rows of the [out, in]
 * matrix. One block is the matrix itself.
 */
export function toLinearBlocks(
  values: Float32Array,
  [out, inner]: readonly number[],
): tf.Tensor2D | tf.Tensor2D[] {
  const { columnBlockBytes } = backendTraits();
  const width = Math.max(64, Math.floor(columnBlockBytes / (4 * inner) / 64) * 64);
  if (out < 2 * width) return toLinearWeight(values, [out, inner]);
  const blocks: tf.Tensor2D[] = [];
  for (let from = 0; from < out; from += width) {
    const to = Math.min(out, from + width);
    blocks.push(toLinearWeight(values.subarray(from * inner, to * inner), [to - from, inner]));
  }
  return blocks;
}

/**
 * y = x·W + b over the last axis.
 * @param x [..., in]
 * @returns [..., out]
 */
export function linear<T extends tf.Tensor>({ weight, bias }: Linear, x: T): T {
  return tf.tidy(() => {
    const inner = innerOf(weight);
    shape({ x: { shape: x.shape.slice(-1) } }, 'in', { in: inner });
    const product = times(tf.reshape(x, [-1, inner]), weight);
    // The bias is added apart: fused.matMul gives wrong numbers on some wasm paths.
    const y = bias ? tf.add(product, bias) : product;
    return tf.reshape(y, [...x.shape.slice(0, -1), product.shape[1]]) as T;
  });
}

const innerOf = (weight: Matrix): number =>
  Array.isArray(weight) ? weight[0].shape[0] : isHalf(weight) ? 2 * weight.pairs.shape[1] : weight.shape[0];

/** x·W, 2-D × 2-D, neither transposed: the product that is fast everywhere. @param x [M, in] */
function times(x: tf.Tensor2D, weight: Matrix): tf.Tensor2D {
  if (!Array.isArray(weight)) return isHalf(weight) ? timesHalf(x, weight) : tf.matMul(x, weight);
  return tf.concat(
    weight.map((block) => tf.matMul<tf.Tensor2D>(x, block)),
    1,
  );
}

/**
 * Rows of an embedding table.
 * @param table [V, E]
 * @param ids [B, T] int32
 * @returns [B, T, E]
 */
export function embed(table: Table, ids: tf.Tensor2D): tf.Tensor3D {
  if (!isHalf(table)) return tf.gather<tf.Tensor>(table, ids) as tf.Tensor3D;
  return tf.tidy(
    () => tf.reshape(rowsOfHalf(table, tf.reshape(ids, [-1])), [...ids.shape, -1]) as tf.Tensor3D,
  );
}
