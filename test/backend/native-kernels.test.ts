import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { startBackend } from '../../src/backend/start.ts';
import { layerNormKernel } from '../../src/tensor/norm.ts';
import { layerNorm } from '../../src/tensor/norm.ts';
import { backendsUnderTest } from '../support/backends.ts';
import { axis, draw, expectEqual, expectNear, randoms, tidyEachTest } from '../support/random.ts';

const runs = { numRuns: 40 };

/** Where they are in place; their numbers beside the twins' are in attention.test.ts and ops.test.ts. */
describe.runIf(backendsUnderTest.includes('tensorflow'))('oneDNN kernels', () => {
  let inPlace = false;
  beforeAll(async () => {
    await startBackend('tensorflow');
    inPlace = tf.getKernel(layerNormKernel, 'tensorflow') !== undefined;
    if (!inPlace) console.warn('this TensorFlow has no oneDNN kernels: its own run');
  });
  tidyEachTest();

  test('are there on x86 without a GPU', () => {
    const { isUsingGpuDevice } = tf.backend() as unknown as { isUsingGpuDevice: boolean };
    expect(inPlace).toBe(process.arch === 'x64' && !isUsingGpuDevice);
  });

  test('are put in place once', async () => {
    const before = tf.getKernelsForBackend('tensorflow').map(({ kernelFunc }) => kernelFunc);
    await startBackend('tensorflow');
    const after = tf.getKernelsForBackend('tensorflow').map(({ kernelFunc }) => kernelFunc);
    expect(after.filter((kernel) => !before.includes(kernel))).toEqual([]);
  });

  test('a product of batches, transposed or broadcast, is its matrices’ products', () => {
    const cases = [
      randoms,
      axis(3),
      axis(4),
      axis(4),
      axis(4),
      fc.boolean(),
      fc.boolean(),
      fc.boolean(),
    ] as const;
    fc.assert(
      fc.property(...cases, (random, B, n, k, m, transposeA, transposeB, oneA) => {
        const a = tf.tensor3d(
          draw(random, [oneA ? 1 : B, ...(transposeA ? [k, n] : [n, k])] as [number, number, number]),
        );
        const b = tf.tensor3d(
          draw(random, [B, ...(transposeB ? [m, k] : [k, m])] as [number, number, number]),
        );
        const matrices = tf.unstack(b).map((matrix, i) => {
          const left = tf.unstack(a)[oneA ? 0 : i];
          // Σ over k of [n, k, 1] · [1, k, m]: no product kernel in it
          const rows = transposeA ? tf.transpose(left) : left;
          const columns = transposeB ? tf.transpose(matrix) : matrix;
          return tf.sum(tf.mul(tf.expandDims(rows, 2), tf.expandDims(columns, 0)), 1);
        });
        expectEqual(tf.matMul(a, b, transposeA, transposeB), tf.stack(matrices) as tf.Tensor3D, 'a·b');
      }),
      runs,
    );
  });

  test('what oneDNN does not take still runs', async () => {
    const a = tf.tensor2d([1, 2, 3, 4], [2, 2], 'int32');
    expect([...(await tf.matMul(a, a).data())]).toEqual([7, 10, 15, 22]);
    expect([...(await tf.softmax(tf.zeros([1, 1, 1, 1, 1, 2])).data())]).toEqual([0.5, 0.5]);
    const three = tf.ones([3]) as tf.Tensor1D;
    expectNear(
      layerNorm({ weight: three, bias: three }, tf.tensor1d([-1, 0, 1]), 0),
      [-0.2247449, 1, 2.2247449],
      'x',
    );
    expect(tf.matMul(tf.ones([2, 0]), tf.ones([0, 3])).shape).toEqual([2, 3]);
  });

  test('a row with NaN stays marked', async () => {
    const rows = await tf.softmax(tf.tensor2d([1, NaN, 3, 1, 1, 1], [2, 3])).array();
    expect((rows as number[][]).map((row) => row.some(Number.isNaN))).toEqual([true, false]);
  });

  test('layerNorm has the gradients of its steps', () => {
    fc.assert(
      fc.property(randoms, axis(3), axis(5), fc.integer({ min: 2, max: 9 }), (random, B, T, D) => {
        const x = tf.tensor3d(draw(random, [B, T, D], 4));
        const [weight, bias] = [tf.tensor1d(draw(random, [D])), tf.tensor1d(draw(random, [D]))];
        const pull = tf.tensor3d(draw(random, [B, T, D])); // dy
        const gradients = (shape: number[]) =>
          tf.grads((x, weight, bias) => {
            const norm = { weight: weight as tf.Tensor1D, bias: bias as tf.Tensor1D };
            return tf.sum(tf.mul(tf.reshape(pull, shape), layerNorm(norm, tf.reshape(x, shape), 1e-2)));
          })([x, weight, bias]);
        const steps = gradients([B, 1, T, D]); // a rank the kernel does not take
        for (const [i, gradient] of gradients([B, T, D]).entries()) {
          expectNear(gradient, steps[i].arraySync(), 'gradient');
        }
      }),
      runs,
    );
  });
});
