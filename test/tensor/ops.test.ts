import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { activationNames, activations } from '../../src/tensor/activation.ts';
import { backendTraits } from '../../src/tensor/traits.ts';
import { embed, linear, toLinearBlocks, toLinearWeight } from '../../src/tensor/linear.ts';
import { layerNorm, rmsNorm } from '../../src/tensor/norm.ts';
import * as twin from '../reference/ops.ts';
import { describeEachBackend } from '../support/backends.ts';
import {
  axis,
  draw,
  expectEqual,
  expectNear,
  expectNewTensors,
  randoms,
  tidyEachTest,
} from '../support/random.ts';

const runs = { numRuns: 50 };
const epsilons = fc.constantFrom(0.1, 0.01, 0.001);

test('the twin of erf agrees with published values', () => {
  expect(twin.erf(0)).toBe(0);
  expect(twin.erf(0.5)).toBeCloseTo(0.5204998778130465, 14);
  expect(twin.erf(-1)).toBeCloseTo(-0.8427007929497149, 14);
  expect(twin.erf(3)).toBeCloseTo(0.9999779095030014, 14);
});

describeEachBackend('linear, norms and activations', () => {
  tidyEachTest();

  test('linear equals its twin, with and without bias', () => {
    fc.assert(
      fc.property(
        randoms,
        axis(3),
        axis(7),
        axis(9),
        axis(9),
        fc.boolean(),
        (random, B, T, inner, out, hasBias) => {
          const x = draw(random, [B, T, inner]);
          const weight = draw(random, [inner, out]);
          const bias = hasBias ? draw(random, [out]) : undefined;
          const y = linear(
            {
              weight: tf.tensor2d(weight),
              bias: bias && tf.tensor1d(bias),
            },
            tf.tensor3d(x),
          );
          expectNear(
            y,
            x.map((rows) => twin.linear(rows, { weight, bias })),
            'linear',
          );
        },
      ),
      runs,
    );
  });

  test('linear takes any number of axes', () => {
    fc.assert(
      fc.property(
        randoms,
        fc.array(axis(3), { maxLength: 3 }),
        axis(4),
        axis(4),
        (random, lead, inner, out) => {
          const dense = { weight: tf.tensor2d(draw(random, [inner, out])) };
          const rows = lead.reduce((product, n) => product * n, 1);
          const x = tf.tensor2d(draw(random, [rows, inner]));
          const y = linear(dense, tf.reshape(x, [...lead, inner]));
          expectEqual(y, tf.reshape(linear(dense, x), [...lead, out]), 'y');
        },
      ),
      runs,
    );
  });

  test('a stored [out, in] matrix multiplies as its transpose', () => {
    fc.assert(
      fc.property(randoms, axis(5), axis(5), (random, inner, out) => {
        const stored = draw(random, [out, inner]);
        const x = draw(random, [2, inner]);
        const y = linear(
          {
            weight: toLinearWeight(Float32Array.from(stored.flat()), [out, inner]),
          },
          tf.tensor2d(x),
        );
        expectNear(
          y,
          x.map((row) => stored.map((weights) => twin.dot(row, weights))),
          'x·Wᵀ',
        );
      }),
      runs,
    );
  });

  test('embed picks rows of the table', () => {
    fc.assert(
      fc.property(randoms, axis(3), axis(5), axis(9), axis(4), (random, B, T, V, E) => {
        const rows = draw(random, [V, E]);
        const ids = draw(random, [B, T]).map((row) => row.map((x) => Math.floor(((x + 1) / 2) * V)));
        const picked = embed(tf.tensor2d(rows), tf.tensor2d(ids, [B, T], 'int32'));
        expectNear(
          picked,
          ids.map((row) => row.map((id) => rows[id])),
          'embed',
          0,
        );
      }),
      runs,
    );
  });

  test('layerNorm and rmsNorm equal their twins', () => {
    fc.assert(
      fc.property(randoms, axis(3), axis(5), axis(9), epsilons, (random, B, T, D, eps) => {
        const x = draw(random, [B, T, D], 4);
        const [weight, bias] = [draw(random, [D]), draw(random, [D])];
        const input = tf.tensor3d(x);
        const gain = tf.tensor1d(weight);
        expectNear(
          layerNorm({ weight: gain, bias: tf.tensor1d(bias) }, input, eps),
          x.map((rows) => twin.layerNorm(rows, { weight, bias }, eps)),
          'layerNorm',
        );
        expectNear(
          rmsNorm(gain, input, eps),
          x.map((rows) => twin.rmsNorm(rows, weight, eps)),
          'rmsNorm',
        );
      }),
      runs,
    );
  });

  test.each(activationNames)('%s equals its twin', (name) => {
    fc.assert(
      fc.property(randoms, fc.constantFrom(3, 12), (random, magnitude) => {
        const x = draw(random, [40], magnitude);
        // tf.erf's polynomial is off by 1.5e-7 at most: a digit in a constant shows.
        expectNear(activations[name](tf.tensor1d(x)), x.map(twin.activations[name]), name, 1e-6);
      }),
      runs,
    );
  });

  test('a width that does not fit is refused with both shapes', () => {
    const x = tf.zeros([2, 3, 4]) as tf.Tensor3D;
    const five = tf.zeros([5]) as tf.Tensor1D;
    expect(() => linear({ weight: tf.zeros([5, 2]) as tf.Tensor2D }, x)).toThrow(
      'x is [4], expected [in] with in=5',
    );
    expect(() => layerNorm({ weight: five, bias: five }, x, 1e-5)).toThrow('x is [4], expected [D] with D=5');
    expect(() => rmsNorm(five, x, 1e-5)).toThrow('x is [4], expected [E] with E=5');
  });

  test('only the result is left in memory', async () => {
    const x = tf.ones([2, 3, 4]) as tf.Tensor3D;
    const dense = { weight: tf.ones([4, 2]) as tf.Tensor2D, bias: tf.ones([2]) as tf.Tensor1D };
    const four = tf.ones([4]) as tf.Tensor1D;
    const five = tf.ones([5]) as tf.Tensor1D;
    const ids = tf.zeros([2, 3], 'int32') as tf.Tensor2D;
    await expectNewTensors(1, 'linear', () => linear(dense, x));
    await expectNewTensors(1, 'toLinearWeight', () => toLinearWeight(new Float32Array(6), [2, 3]));
    await expectNewTensors(1, 'embed', () => embed(dense.weight, ids));
    await expectNewTensors(1, 'layerNorm', () => layerNorm({ weight: four, bias: four }, x, 1e-5));
    await expectNewTensors(1, 'rmsNorm', () => rmsNorm(four, x, 1e-5));
    for (const name of activationNames) await expectNewTensors(1, name, () => activations[name](x));
    await expectNewTensors(
      0,
      'linear that throws',
      () => linear({ weight: dense.weight, bias: five }, four),
      true,
    );
    await expectNewTensors(
      0,
      'layerNorm that throws',
      () => layerNorm({ weight: five, bias: five }, x, 0),
      true,
    );
    await expectNewTensors(0, 'rmsNorm that throws', () => rmsNorm(five, x, 0), true);
  });
});

describeEachBackend('column blocks', (backend) => {
  test('give what the whole matrix gives', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(
        sizes,
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 4 }),
        (widths, inner, rows) => {
          const difference = tf.tidy(() => {
            const out = widths.reduce((sum, n) => sum + n, 0);
            const weight = tf.randomNormal([inner, out], 0, 1, 'float32', 1) as tf.Tensor2D;
            const bias = tf.randomNormal([out], 0, 1, 'float32', 2) as tf.Tensor1D;
            const x = tf.randomNormal([rows, inner], 0, 1, 'float32', 3) as tf.Tensor2D;
            const blocks = tf.split(weight, widths, 1) as tf.Tensor2D[];
            const apart = tf.sub(linear({ weight: blocks, bias }, x), linear({ weight, bias }, x));
            return tf.max(tf.abs(apart)).dataSync()[0];
          });
          expect(difference).toBeLessThan(1e-5);
        },
      ),
      { numRuns: 30 },
    );
  });

  test('are cut where they help, of the size that suits the backend', () => {
    const before = tf.memory().numTensors;
    const values = tf.tidy(() => tf.randomNormal([2600, 1024], 0, 1, 'float32', 4).dataSync<'float32'>());
    const expected = tf.tidy(() =>
      tf.matMul(tf.ones([1, 1024]), toLinearWeight(values, [2600, 1024])),
    ) as tf.Tensor2D;
    const weight = toLinearBlocks(values, [2600, 1024]);
    const widths = Array.isArray(weight) ? weight.map((block) => block.shape[1]) : [weight.shape[1]];
    expect(widths).toEqual(backend === 'wasm' ? [1024, 1024, 552] : [2600]);
    const y = tf.tidy(() => linear({ weight }, tf.ones([1, 1024]) as tf.Tensor2D));
    expect(tf.tidy(() => tf.max(tf.abs(tf.sub(y, expected))).dataSync()[0])).toBeLessThan(1e-3);
    tf.dispose([expected, weight, y]);
    expect(tf.memory().numTensors).toBe(before);
    expect(backendTraits().columnBlockBytes === Infinity).toBe(backend !== 'wasm');
  });
});
