import * as tf from '@tensorflow/tfjs-core';
import type { Matrix } from '../../src/tensor/linear.ts';
import { exactNumber } from '../../src/testing/tiny-model.ts';
import fc from 'fast-check';
import { afterEach, beforeEach, expect } from 'vitest';

export type Random = () => number;

/** Uniform numbers in [0, 1), the same for a seed on every machine: a counter, stirred (splitmix32's idea). */
export function seededRandom(seed: number): Random {
  let counter = seed | 0;
  return () => {
    counter = (counter + 0x9e3779b9) | 0;
    let x = Math.imul(counter ^ (counter >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return ((x ^ (x >>> 15)) >>> 0) / 2 ** 32;
  };
}

/**
 * A source of random values, chosen by fast-check as a seed: it picks shapes well, but values that shrink to all
 * zeros or all equal are the least telling ones for a matrix product.
 */
export const randoms: fc.Arbitrary<Random> = fc.noBias(fc.noShrink(fc.nat())).map(seededRandom);

/** An axis length: 1 to `max`, odd ones too. */
export const axis = (max: number): fc.Arbitrary<number> => fc.integer({ min: 1, max });

/** The nested arrays of a shape: [2, 3] → number[][]. */
export type Nested<Shape extends readonly number[]> = Shape extends readonly [
  number,
  ...infer Rest extends readonly number[],
]
  ? Nested<Rest>[]
  : number;

/** Random multiples of 2⁻¹⁰ in [−1, 1) · magnitude: exact in float32, so both sides start from the same numbers. */
export function draw<const Shape extends readonly number[]>(
  random: Random,
  shape: Shape,
  magnitude = 1,
): Nested<Shape> {
  const build = ([length, ...rest]: readonly number[]): unknown =>
    length === undefined ? magnitude * exactNumber(random) : Array.from({ length }, () => build(rest));
  return build(shape) as Nested<Shape>;
}

/** A record of tensors as nested arrays, for the twins. */
export type Arrays<T> = [T] extends [Matrix]
  ? number[][] // no test matrix is large enough to be cut into blocks
  : T extends tf.Tensor
    ? ReturnType<T['arraySync']>
    : T extends object
      ? { [Key in keyof T]: Arrays<T[Key]> }
      : T;

export function toArrays<T>(tree: T): Arrays<T> {
  if (tree instanceof tf.Tensor) return tree.arraySync() as Arrays<T>;
  if (Array.isArray(tree)) return tree.map(toArrays) as Arrays<T>;
  if (typeof tree !== 'object' || tree === null) return tree as Arrays<T>;
  return Object.fromEntries(Object.entries(tree).map(([key, value]) => [key, toArrays(value)])) as Arrays<T>;
}

/**
 * Compares with a float64 twin: no value may be off by more than `bound`·max(1, largest expected value). The inputs
 * are of order 1 and at most some tens of products are summed, so float32 (2⁻²⁴ = 6e-8 a rounding) leaves about 1e-6;
 * relative to the result alone, a sum that cancels to nearly 0 would fail for no fault.
 */
export function expectNear(actual: tf.Tensor, expected: unknown, what: string, bound = 1e-5): void {
  expect(actual.shape, `${what}: shape`).toEqual(shapeOf(expected));
  const wanted = [expected].flat(Infinity) as number[];
  const values = actual.dataSync();
  const scale = wanted.reduce((largest, x) => Math.max(largest, Math.abs(x)), 1);
  const worst = wanted.reduce((most, x, i) => {
    const error = Math.abs(values[i] - x) / scale;
    return error <= most ? most : Number.isNaN(error) ? Infinity : error;
  }, 0);
  expect(worst, `${what}: error`).toBeLessThanOrEqual(bound);
}

function shapeOf(nested: unknown): number[] {
  return Array.isArray(nested) ? [nested.length, ...shapeOf(nested[0])] : [];
}

/** Asserts that two tensors hold the very same numbers, bit by bit. */
export function expectEqual(actual: tf.Tensor, expected: tf.Tensor, what: string): void {
  expect(actual.shape, `${what}: shape`).toEqual(expected.shape);
  expect(Array.from(actual.dataSync()), what).toEqual(Array.from(expected.dataSync()));
}

/** Disposes at the end of each test what the test itself left: tests need no bookkeeping. */
export function tidyEachTest(): void {
  beforeEach(() => tf.engine().startScope());
  afterEach(() => tf.engine().endScope());
}

/** Asserts that a call leaves `count` tensors more than there were: its results, none of its intermediates. */
export async function expectNewTensors(
  count: number,
  what: string,
  call: () => unknown,
  throws = false,
): Promise<void> {
  const before = tf.memory().numTensors;
  if (throws) await expect((async () => await call())(), what).rejects.toThrow();
  else await call();
  expect(tf.memory().numTensors - before, `tensors left by ${what}`).toBe(count);
}
