/** Gradients against finite differences. */
import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';
import { listTensors, replaceTensors } from '../../src/train/parameters.ts';
import { draw, type Random } from './random.ts';

/**
 * Compares ∂(y·r)/∂x, r random, with finite differences along a random direction, for each tensor x of a record:
 *
 *     f′ ≈ (8·(f(ε) − f(−ε)) − (f(2ε) − f(−2ε))) / 12ε
 *
 * whose own error is of order ε⁴. The sum over y is taken in float64.
 */
export function checkGradients<R extends object>(
  random: Random,
  inputs: R,
  f: (inputs: R) => tf.Tensor,
): void {
  const tensors = listTensors(inputs);
  const at = (changed: tf.Tensor[]) => f(replaceTensors(inputs, changed));
  const y = at(tensors);
  const r = tf.tensor(draw(random, y.shape), y.shape);
  const gradients = tf.grads((...changed: tf.Tensor[]) => tf.sum(tf.mul(at(changed), r)))(tensors);
  const weights = r.dataSync();
  let telling = 0;
  for (const [i, x] of tensors.entries()) {
    const direction = tf.tensor(draw(random, x.shape), x.shape);
    const along = (step: number) => {
      const moved = tensors.with(i, tf.add(x, tf.mul(direction, step)));
      return Array.from(at(moved).dataSync(), (value, k) => value * weights[k]).reduce(
        (sum, x) => sum + x,
        0,
      );
    };
    const e = 0.01;
    const expected = (8 * (along(e) - along(-e)) - (along(2 * e) - along(-2 * e))) / (12 * e);
    expect(gradients[i].shape, `shape of gradient ${i}`).toEqual(x.shape);
    const actual = tf.sum(tf.mul(gradients[i], direction)).dataSync()[0];
    const what = `tensor ${i} [${x.shape}]: ${actual}, not ${expected}`;
    expect(Math.abs(actual - expected), what).toBeLessThan(1e-3 * Math.abs(expected) + 2e-4);
    if (Math.abs(expected) > 1e-3) telling++;
  }
  // Not all: a bias of the keys moves all scores of a query alike, which the softmax does not see.
  expect(telling, 'tensors with a gradient').toBeGreaterThan(tensors.length / 2);
}
