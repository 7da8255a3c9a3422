/**
 * Weights are records of tensors; an optimizer wants one long vector: one update is then ten kernels, not ten a tensor.
 * This file goes from the one to the other and back.
 */
import * as tf from '@tensorflow/tfjs-core';

/** Every tensor of a weights record, in data order. */
export function listTensors(weights: object): tf.Tensor[] {
  return Object.values(weights).flatMap((node: unknown): tf.Tensor[] =>
    node instanceof tf.Tensor ? [node] : typeof node === 'object' && node !== null ? listTensors(node) : [],
  );
}

/** The same record with other tensors in the places of its own. */
export function replaceTensors<W extends object>(weights: W, tensors: readonly tf.Tensor[]): W {
  const rest = [...tensors];
  const walk = (node: unknown): unknown => {
    if (node instanceof tf.Tensor) return rest.shift();
    if (typeof node !== 'object' || node === null) return node;
    if (Array.isArray(node)) return node.map(walk);
    return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, walk(child)]));
  };
  return walk(weights) as W;
}

/** Tensors end to end: [n]. */
export function toVector(tensors: readonly tf.Tensor[]): tf.Tensor1D {
  return tf.tidy(() => tf.concat1d(tensors.map((tensor) => tf.reshape(tensor, [tensor.size]))));
}

/** The inverse of {@link toVector}. @param like tensors of the shapes that the parts have */
export function fromVector(
  vector: tf.Tensor1D,
  like: readonly { shape: number[]; size: number }[],
): tf.Tensor[] {
  return tf.tidy(() => {
    const parts = tf.split(
      vector,
      like.map(({ size }) => size),
    );
    return parts.map((part, i) => tf.reshape(part, like[i].shape));
  });
}

/** The same record, of tensors that are the caller's own. */
export const copyTensors = <W extends object>(weights: W): W =>
  replaceTensors(
    weights,
    listTensors(weights).map((tensor) => tf.clone(tensor)),
  );

/** A loss that depends on all weights: on those that it does not touch with a derivative of 0. */
export function touchAll(loss: tf.Scalar, weights: object): tf.Scalar {
  return tf.tidy(() => tf.add(loss, tf.sum(tf.mul(toVector(listTensors(weights)), 0))));
}

/** 1 where weight decay acts, in matrices and tables, and 0 in biases, gains and scales: [n]. */
export function decayMask(tensors: readonly tf.Tensor[]): tf.Tensor1D {
  return tf.tidy(() => toVector(tensors.map(({ shape }) => tf.fill(shape, shape.length > 1 ? 1 : 0))));
}
