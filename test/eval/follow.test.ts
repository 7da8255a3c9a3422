/** What became of the patches is what the recorded matrices make of them. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { MethodOptions } from '../../src/compress/method.ts';
import { methods } from '../../src/compress/registry.ts';
import { followPatches } from '../../src/eval/run/follow.ts';
import {
  applyMatrix,
  identity,
  matrixOf,
  picking,
  withCls,
  type Row,
} from '../../src/tensor/token-matrix.ts';
import { createTrace } from '../../src/tensor/trace.ts';
import { describeEachBackend } from '../support/backends.ts';
import { draw, expectNear, randoms, seededRandom, tidyEachTest } from '../support/random.ts';
import { runVlm } from '../support/methods.ts';
import { tinyClip, tinyLlava } from '../support/tiny.ts';

const P = 16;
const prompts = [{ before: [1, 5], after: [7, 3, 4], question: [1, 2, 7] }];

describeEachBackend('following', () => {
  tidyEachTest();

  test.each(methods.map((method) => [method.name, method] as const))(
    '%s: every token that the last layer holds is a kept patch or a made one, with patches of its own',
    async (_, method) => {
      for (const strategy of ['default', 'full'] as const) {
        const random = seededRandom(40);
        const model = tinyLlava(random, { vision_feature_select_strategy: strategy });
        const clip = tinyClip(random);
        const stages: MethodOptions = method.name === 'pyramiddrop' ? { stages: 3 } : {};
        for (const budget of [2, 5, 9, 12, P]) {
          if (method.name === 'downsample' && !Number.isInteger(Math.sqrt(budget))) continue; // refused
          const trace = createTrace(() => false);
          const input = { pixels: tf.tensor4d(draw(random, [1, 9, 9, 3])), prompts };
          const methodOptions = { ...method.defaults, ...stages };
          const options = { method, methodOptions, budget, maxNewTokens: 1, trace };
          const { prefillLengths } = await runVlm({ ...model, clip }, input, options);
          const [{ kept, made, groups }] = followPatches(trace.matrices.values(), strategy === 'full');
          const image = prefillLengths.at(-1)! - 5; // text
          const cls = strategy === 'full' && image > 0 && method.stages[0] !== 'between' ? 1 : 0;
          if (method.stages[0] !== 'between' || strategy === 'default') {
            expect(kept.length + made).toBe(image - cls);
          }
          for (const patch of kept) expect(groups[patch]).toBeGreaterThanOrEqual(0);
        }
      }
    },
  );

  test('a choice among chosen ones is their product, and each patch is in the token that it weighs most in', async () => {
    await fc.assert(
      fc.asyncProperty(
        randoms,
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 6 }),
        async (random, n, m) => {
          const rowsOf = (count: number, columns: number): Row[] =>
            Array.from({ length: count }, () => {
              const tokens = Array.from({ length: columns }, (_, token): [number, number] => [
                token,
                random(),
              ]);
              return new Map(tokens.filter(() => random() > 0).slice(0, 3));
            });
          const [before, after] = [matrixOf([rowsOf(n, 7)], 7), matrixOf([rowsOf(m, n)], n)];
          const X = tf.tensor3d(draw(random, [1, 7, 2]));
          const [{ kept, made, groups }] = followPatches([identity(1, 7), before, after], false);
          expect(kept.length + made).toBe(m);
          const expected = applyMatrix(after, applyMatrix(before, X));
          const marks = tf.tensor3d([
            Array.from({ length: 7 }, (_, p) => Array.from({ length: 7 }, (_, q) => +(p === q))),
          ]);
          const W = applyMatrix(after, applyMatrix(before, marks)).arraySync()[0];
          expectNear(
            tf.matMul(tf.tensor2d(W), tf.tensor2d(X.arraySync()[0])),
            expected.arraySync()[0],
            'W₂·W₁·X',
          );
          for (const [patch, group] of groups.entries()) {
            const weights = W.map((row) => row[patch]);
            const most = Math.max(...weights);
            if (most > 1e-5) expect(weights[group]).toBeGreaterThan(most - 1e-5);
            else if (most < -1e-5) expect(group).toBe(-1);
          }
          return Promise.resolve();
        },
      ),
      { numRuns: 60 },
    );
  });

  test('of several pictures each has its own', () => {
    const W = picking(
      [
        [0, 2],
        [1, 3],
      ],
      4,
    );
    const later = picking([[1], [0]], 2);
    expect(followPatches([W, later], false).map(({ kept }) => kept)).toEqual([[2], [1]]);
  });

  test('the checkpoint’s own [CLS] is no choice of anyone, a method’s is', () => {
    const W = withCls(identity(1, 2), 1);
    expect(followPatches([W], true)).toEqual([{ kept: [0, 1], made: 0, groups: [0, 1] }]);
    expect(followPatches([W], false)).toEqual([{ kept: [0, 1], made: 1, groups: [1, 2] }]);
  });
});
