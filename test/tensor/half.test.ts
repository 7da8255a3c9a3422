/** Products with 16-bit matrices: what is widened is exact, sums are right to float32, and nothing is left behind. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeFloat32, toFloat32 } from '../../src/io/dtype.ts';
import { asFloat32, keepsHalf, type HalfFormat, type HalfMatrix } from '../../src/tensor/half.ts';
import { embed, linear, toLinearWeight } from '../../src/tensor/linear.ts';
import { describeEachBackend } from '../support/backends.ts';
import { axis, draw, randoms, tidyEachTest, type Random } from '../support/random.ts';

const formats: HalfFormat[] = ['BF16', 'F16'];

/** Random numbers. */
const values = (random: Random, n: number) => Float32Array.from(draw(random, [n]));

/** A matrix of codes as a file holds them. */
function halfOf(bytes: Uint8Array, format: HalfFormat, [rows, columns]: number[]): HalfMatrix {
  const pairs = new Int32Array(bytes.slice().buffer);
  return { pairs: tf.tensor2d(pairs, [rows, columns / 2], 'int32'), format };
}

/** The greatest error of x·Wᵀ, as a share of Σ |x·w|, beside float64. */
function errorOf(y: Float32Array, x: Float32Array, w: Float32Array, [M, K, N]: number[]): number {
  let worst = 0;
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let [sum, size] = [0, 1e-30];
      for (let k = 0; k < K; k++) {
        sum += x[m * K + k] * w[n * K + k];
        size += Math.abs(x[m * K + k] * w[n * K + k]);
      }
      worst = Math.max(worst, Math.abs(y[m * N + n] - sum) / size);
    }
  }
  return worst;
}

describeEachBackend('a 16-bit matrix', (backend) => {
  tidyEachTest();

  test('is kept here', () => {
    expect(keepsHalf()).toBe(true);
  });

  test.each(formats)('%s: every code widens exactly', (format) => {
    const codes = Uint16Array.from({ length: 65_536 }, (_, code) => code);
    const before = tf.memory().numBytes;
    const table = halfOf(new Uint8Array(codes.buffer), format, [256, 256]);
    expect(tf.memory().numBytes - before).toBe(2 * 65_536);
    const order = Array.from({ length: 256 }, (_, i) => 255 - i);
    const rows = tf.tidy(() => embed(table, tf.tensor2d([order], [1, 256], 'int32')).dataSync<'float32'>());
    const expected = toFloat32(new Uint8Array(codes.buffer), format);
    const wrong = order.filter((row, i) =>
      Array.from({ length: 256 }, (_, k) => k).some(
        (k) => !Object.is(rows[256 * i + k], expected[256 * row + k]),
      ),
    );
    expect(wrong).toEqual([]);
    tf.dispose(table);
  });

  test.each(formats)('%s: x·Wᵀ is right, whatever the sizes', (format) => {
    fc.assert(
      fc.property(randoms, axis(14), axis(45), axis(40), (random, M, half, N) => {
        const K = 2 * half;
        const bytes = encodeFloat32(values(random, N * K), format);
        const x = values(random, M * K);
        const y = tf.tidy(() =>
          linear({ weight: halfOf(bytes, format, [N, K]) }, tf.tensor3d(x, [1, M, K])).dataSync<'float32'>(),
        );
        expect(errorOf(y, x, toFloat32(bytes, format), [M, K, N])).toBeLessThan(1e-6);
      }),
      { numRuns: 60 },
    );
  });

  test.each(formats)('%s: large enough for several parts and blocks, with a bias', (format) => {
    fc.assert(
      fc.property(randoms, fc.constantFrom(1, 3, 8), (random, M) => {
        const [K, N] = [1026, 2051];
        const bytes = encodeFloat32(values(random, N * K), format);
        const [x, b] = [values(random, M * K), values(random, N)];
        const y = tf.tidy(() =>
          tf
            .sub(
              linear({ weight: halfOf(bytes, format, [N, K]), bias: tf.tensor1d(b) }, tf.tensor2d(x, [M, K])),
              tf.tensor1d(b),
            )
            .dataSync<'float32'>(),
        );
        expect(errorOf(y, x, toFloat32(bytes, format), [M, K, N])).toBeLessThan(3e-6);
      }),
      { numRuns: 3 },
    );
  });

  test.runIf(backend === 'tensorflow')(
    'of many rows the product is the float32 one’s to the last bit',
    () => {
      fc.assert(
        fc.property(
          randoms,
          fc.constantFrom(...formats),
          fc.constantFrom([9, 64, 48], [35, 130, 33], [128, 512, 96], [577, 66, 130]),
          (random, format, [M, K, N]) => {
            const bytes = encodeFloat32(values(random, N * K), format);
            const x = values(random, M * K);
            const different = tf.tidy(() => {
              const kept = linear({ weight: halfOf(bytes, format, [N, K]) }, tf.tensor2d(x, [M, K]));
              const weight = toLinearWeight(toFloat32(bytes, format), [N, K]);
              return tf.sum(tf.notEqual(kept, linear({ weight }, tf.tensor2d(x, [M, K])))).dataSync()[0];
            });
            expect(different).toBe(0);
          },
        ),
        { numRuns: 12 },
      );
    },
  );

  test('is refused where float32 is needed', () => {
    const half = halfOf(new Uint8Array(8), 'F16', [2, 2]);
    expect(() => asFloat32(half)).toThrow('a matrix kept in 16 bits stands where a float32 one is needed');
    tf.dispose(half);
  });
});
