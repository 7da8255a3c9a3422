import { existsSync } from 'node:fs';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';
import { openSafetensors } from '../../src/node/safetensors.ts';

const here = import.meta.dirname;

/** Our own golden files. */
export const golden = (...parts: string[]): string => path.join(here, '..', 'golden', ...parts);

/** The shared fixtures beside the checkout, where they are present. */
export const fixture = (...parts: string[]): string =>
  path.join(here, '..', '..', '..', 'shared', 'fixtures', ...parts);
export const hasFixtures = existsSync(fixture('README.md'));
if (!hasFixtures) console.warn('skipping the shared fixtures: ../shared/fixtures is not beside the checkout');

export interface Expected {
  names: string[];
  has(name: string): boolean;
  float(name: string): Promise<tf.Tensor>;
  ints(name: string): Promise<number[][]>;
  close(): Promise<void>;
}

/** A golden file, closed by the caller; the tensors it returns belong to the caller too. */
export async function readExpected(file: string): Promise<Expected> {
  const source = await openSafetensors(file);
  return {
    names: [...source.tensors.keys()],
    has: (name) => source.tensors.has(name),
    float: async (name) => tf.tensor(await source.readFloat32(name), source.tensors.get(name)!.shape),
    async ints(name) {
      const values = await source.readInt32(name);
      const width = source.tensors.get(name)!.shape.at(-1)!;
      return Array.from({ length: values.length / width }, (_, i) => [
        ...values.subarray(i * width, (i + 1) * width),
      ]);
    },
    close: () => source.close(),
  };
}

/** Largest difference, relative to the largest expected magnitude; Infinity when shapes differ or a NaN is there. */
export function relativeError(actual: tf.Tensor, expected: tf.Tensor): number {
  if (actual.shape.join() !== expected.shape.join()) return Infinity;
  return compareValues(actual.dataSync<'float32'>(), expected.dataSync<'float32'>());
}

/** The same on any backend: webgpu has no dataSync. */
export async function readRelativeError(actual: tf.Tensor, expected: tf.Tensor): Promise<number> {
  if (actual.shape.join() !== expected.shape.join()) return Infinity;
  return compareValues(await actual.data<'float32'>(), await expected.data<'float32'>());
}

function compareValues(a: Float32Array, e: Float32Array): number {
  let [worst, largest] = [0, 1e-30];
  for (let i = 0; i < e.length; i++) {
    const difference = Math.abs(a[i] - e[i]);
    if (!(difference <= worst)) worst = Number.isNaN(difference) ? Infinity : difference;
    largest = Math.max(largest, Math.abs(e[i]));
  }
  return worst / largest;
}

/** The bound that design and fixtures set: 1e-4 of each tensor's largest value. */
export function expectClose(actual: tf.Tensor, expected: tf.Tensor, what: string, bound = 1e-4): void {
  expect(actual.shape, `${what}: shape`).toEqual(expected.shape);
  expect(relativeError(actual, expected), `${what}: relative error`).toBeLessThan(bound);
}

/** The same on any backend. */
export async function expectReadClose(
  actual: tf.Tensor,
  expected: tf.Tensor,
  what: string,
  bound = 1e-4,
): Promise<void> {
  expect(actual.shape, `${what}: shape`).toEqual(expected.shape);
  expect(await readRelativeError(actual, expected), `${what}: relative error`).toBeLessThan(bound);
}
