/**
 * Matrices that stay as a 16-bit file holds them. TensorFlow.js has no 16-bit type: two values lie in each int32, and what a
 * product needs of them becomes float32 just before it, exactly, and is gone after it. LLaVA-1.5-7B is 13.2 GiB so, and
 * 26.3 in float32.
 */
import * as tf from '@tensorflow/tfjs-core';

/** The two 16-bit floats of checkpoints; see io/half.ts. */
export type HalfFormat = 'BF16' | 'F16';

/** A matrix as the file holds it: of a dense layer [out, in], of an embedding [V, E]. */
export type HalfMatrix = {
  pairs: tf.Tensor2D; // [out, in/2] int32, of each two values the first in the lower half
  format: HalfFormat;
};

/** Kernels that a backend brings which can keep such matrices. Attribute of both: format. */
export const halfKernels = {
  /** x·Wᵀ. Inputs x [M, in], pairs [out, in/2]. */
  times: 'HalfTimes',
  /** Rows widened. Input pairs [n, in/2]; float32 [n, in]. */
  widen: 'HalfWiden',
};

/** Whether the running backend keeps 16-bit matrices. */
export const keepsHalf = (): boolean => tf.getKernel(halfKernels.times, tf.getBackend()) !== undefined;

/** Whether it is one. */
export const isHalf = (weight: object): weight is HalfMatrix => 'pairs' in weight;

/** A weight that is float32, as those are that are trained. */
export function asFloat32<T extends object>(weight: T): Exclude<T, HalfMatrix> {
  if (isHalf(weight)) throw new Error('a matrix kept in 16 bits stands where a float32 one is needed');
  return weight as Exclude<T, HalfMatrix>;
}

/** x·Wᵀ. @param x [M, in] @returns [M, out] */
export const timesHalf = (x: tf.Tensor2D, { pairs, format }: HalfMatrix): tf.Tensor2D =>
  tf.engine().runKernel(halfKernels.times, { x, pairs }, { format });

/** Some rows, widened. @param ids [n] int32 @returns [n, in] */
export const rowsOfHalf = ({ pairs, format }: HalfMatrix, ids: tf.Tensor1D): tf.Tensor2D =>
  tf.tidy(() => tf.engine().runKernel(halfKernels.widen, { pairs: tf.gather(pairs, ids) }, { format }));
