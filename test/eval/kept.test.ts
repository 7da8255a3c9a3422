/** Kept patches counted, sinks by Tukey's rule, and dropped places filled. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { findOutliers, quantile } from '../../src/compress/outliers.ts';
import { fillBlank } from '../../src/eval/run/fill.ts';
import { countKept, findSinks, joinKept, keptOf, noneKept } from '../../src/eval/run/kept.ts';
import { applyMatrix, denseOf, picking, withCls } from '../../src/tensor/token-matrix.ts';
import { describeEachBackend } from '../support/backends.ts';
import { axis, draw, expectNear, expectNewTensors, randoms, tidyEachTest } from '../support/random.ts';

test("quartiles as NumPy's, and outliers beyond the upper fence alone", () => {
  // numpy.quantile([1, 2, 4, 8, 16, 100], [.25, .75]) → [2.5, 14.0]; the fence is 14 + 1.5 · 11.5 = 31.25
  const values = [16, 1, 100, 4, 8, 2];
  const sorted = [...values].sort((a, b) => a - b);
  expect([quantile(sorted, 0.25), quantile(sorted, 0.75)]).toEqual([2.5, 14]);
  expect(findOutliers(values)).toEqual([false, false, true, false, false, false]);
  expect(findOutliers([31.25, ...values.slice(1)]).some(Boolean)).toBe(true); // other quartiles
  expect(findOutliers([5, 5, 5, 5])).toEqual([false, false, false, false]);
});

test('counts become shares, and parts join to the whole', () => {
  const parts = [noneKept(3), noneKept(3)];
  countKept(parts[0], [0, 2], [true, false, false]);
  countKept(parts[1], [2], [true, false, true]);
  countKept(parts[1], [], [false, false, false]);
  const joined = joinKept(parts);
  expect(joined).toEqual({ questions: 3, counts: [1, 0, 2], sinks: 2 });
  expect(keptOf(joined)).toEqual({ shares: [1 / 3, 0, 2 / 3], sinks: 2 / 3 });
  expect(keptOf(noneKept(2)).sinks).toBe(0);
});

describeEachBackend('kept patches', () => {
  tidyEachTest();

  test('a patch whose features are far longer than the others is a sink, in its picture alone', async () => {
    const random = (i: number) => Math.sin(i);
    const values = Array.from({ length: 2 * 12 * 4 }, (_, i) => random(i));
    for (let d = 0; d < 4; d++) values[(12 + 7) * 4 + d] *= 30;
    const found = await findSinks(tf.tensor3d(values, [2, 12, 4]));
    expect(found.map((row) => row.indexOf(true))).toEqual([-1, 7]);
  });

  test('a filled picture is Wᵀ·F′ + diag(1 − Wᵀ·1)·B, and [CLS] stays before it', async () => {
    const cases = fc.record({
      random: randoms,
      B: axis(3),
      P: axis(8),
      D: axis(4),
      n: fc.nat(),
      cls: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ random, B, P, D, n, cls }) => {
        const U = 1 + (n % P);
        const kept = Array.from({ length: B }, (_, b) =>
          [...Array(P).keys()].sort((i, j) => ((i * 7 + b) % P) - ((j * 7 + b) % P)).slice(0, U),
        );
        const W = picking([...kept], P);
        const tokens = applyMatrix(W, tf.tensor3d(draw(random, [B, P, D])));
        const blank = tf.tensor3d(draw(random, [1, P, D]));
        const Wt = tf.transpose(denseOf(W), [0, 2, 1]);
        const expected = tf.add(tf.matMul(Wt, tokens), tf.mul(tf.sub(1, tf.sum(Wt, 2, true)), blank));
        const first = tf.tensor3d(draw(random, [B, 1, D]));
        const found = cls
          ? fillBlank({ tokens: tf.concat([first, tokens], 1), W: withCls(W, 1) }, blank)
          : fillBlank({ tokens, W }, blank);
        expectNear(found, (cls ? tf.concat([first, expected], 1) : expected).arraySync(), 'filled');
        if (U === P) expectNear(fillBlank({ tokens, W }, blank), tokens.arraySync(), 'nothing to fill');
        await expectNewTensors(1, 'fillBlank', () => Promise.resolve(fillBlank({ tokens, W }, blank)));
      }),
      { numRuns: 30 },
    );
  });
});
