/** ToMe, inside the tower. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { countMerges, mergeAlike, tome } from '../../src/compress/tome.ts';
import { findMethod } from '../../src/compress/registry.ts';
import { UserError } from '../../src/errors.ts';
import { attend, attendBatched, attendByHead } from '../../src/tensor/attention.ts';
import { free } from '../../src/tensor/scope.ts';
import { applyMatrix, identity } from '../../src/tensor/token-matrix.ts';
import { watchSteps } from '../../src/tensor/trace.ts';
import { runClipVision, type ClipVision } from '../../src/vision/clip.ts';
import { clipTower, type TowerCut } from '../../src/vision/tower.ts';
import { prepare } from '../../src/plan.ts';
import { tomeTower } from '../reference/field.ts';
import { describeEachBackend } from '../support/backends.ts';
import { runVlm, sourceOf, type RunOptions } from '../support/methods.ts';
import {
  axis,
  draw,
  expectEqual,
  expectNear,
  expectNewTensors,
  randoms,
  seededRandom,
  tidyEachTest,
  toArrays,
} from '../support/random.ts';
import { tinyLlava, tinyVision } from '../support/tiny.ts';

/** Of the tiny tower: 16 patches, hidden[3] is selected. A fixed seed, as in field.test.ts. */
const [P, layers] = [16, 3];
const runs = { numRuns: 12, seed: 20 };
const source = sourceOf({ layers: 4, selectedLayer: layers - 1, patches: P });
const mergingTo = (U: number, known = source) => tome.prepare(known, U, {}, {}).inTower as TowerCut;

/** hidden[depth] of a tower with a method inside. */
async function runCutting(vision: ClipVision, pixels: tf.Tensor4D, depth: number, cut: TowerCut) {
  const { features } = await clipTower(vision).run(pixels, { features: [depth] }, cut);
  const hidden = tf.tidy(() => tf.concat([features.cls()!, features.F()], 1));
  features.dispose();
  return hidden;
}
const budgets = fc.integer({ min: 2, max: P });

/** r of each layer. */
function schedule(n: number, U: number, depth: number): number[] {
  const merges: number[] = [];
  for (let left = depth; left > 0; left--) {
    merges.push(countMerges(n, U, left));
    n -= merges.at(-1)!;
  }
  return merges;
}

const options: RunOptions = {
  method: findMethod('tome'),
  methodOptions: {},
  budget: 5,
  positions: 'contiguous',
  maxNewTokens: 3,
};
const prompts = [
  { before: [1, 5], after: [7, 3, 4] },
  { before: [1, 5, 6], after: [9, 2] },
];

describeEachBackend('ToMe', () => {
  tidyEachTest();

  test('a merging tower equals its twin, U tokens exactly and [CLS]', async () => {
    await fc.assert(
      fc.asyncProperty(randoms, budgets, axis(2), async (random, U, B) => {
        const vision = tinyVision(random);
        const pixels = draw(random, [B, 9, 9, 3]);
        const hidden = await runCutting(vision, tf.tensor4d(pixels), layers, mergingTo(U));
        const arrays = toArrays(vision.weights);
        const merges = schedule(P, U, layers);
        const expected = pixels.map((one) => tomeTower(arrays, one, vision.config, merges).hidden);
        expect(hidden.shape).toEqual([B, 1 + U, 6]);
        expectNear(hidden, expected, 'hidden');
      }),
      runs,
    );
  });

  test('without merges it is the plain tower, bit by bit', async () => {
    await fc.assert(
      fc.asyncProperty(randoms, axis(4), async (random, depth) => {
        const vision = tinyVision(random);
        const pixels = tf.tensor4d(draw(random, [2, 9, 9, 3]));
        const plain = runClipVision(vision, pixels, { hidden: [depth] }).hidden.get(depth)!;
        const nothing: TowerCut = () => Promise.resolve(undefined);
        const same: TowerCut = () => Promise.resolve(identity(2, P));
        for (const cut of [mergingTo(P, { ...source, selectedLayer: depth - 1 }), nothing, same]) {
          expectEqual(await runCutting(vision, pixels, depth, cut), plain, `hidden[${depth}]`);
        }
      }),
      runs,
    );
  });

  test('a batch merges as its pictures one by one', async () => {
    await fc.assert(
      fc.asyncProperty(randoms, budgets, async (random, U) => {
        const vision = tinyVision(random);
        const pixels = draw(random, [3, 9, 9, 3]);
        const see = (some: number[][][][]) => runCutting(vision, tf.tensor4d(some), layers, mergingTo(U));
        const single: number[][][] = [];
        for (const picture of pixels) single.push((await see([picture])).arraySync()[0]);
        expectNear(await see(pixels), single, 'hidden');
      }),
      runs,
    );
  });

  test('a merge keeps the sum of s·x, and puts the most alike together', async () => {
    await fc.assert(
      fc.asyncProperty(
        randoms,
        fc.integer({ min: 1, max: 8 }),
        axis(2),
        fc.nat(),
        async (random, half, B, n) => {
          const N = 1 + 2 * half;
          const hidden = tf.tensor3d(draw(random, [B, N - 1, 3])); // of the patches
          const sizes = draw(random, [B, N]).map((item) => item.map((x) => 1 + Math.floor(2 + 2 * x)));
          const keys = tf.tensor4d(draw(random, [B, 2, N, 4]));
          const r = n % (half + 1);
          const W = await mergeAlike(keys, sizes, r);
          expect(W.shape).toEqual([B, N - 1 - r, N - 1]);
          const merged = applyMatrix(W, hidden).arraySync();
          for (const [b, rows] of W.rows.entries()) {
            const sizeOf = (row: ReadonlyMap<number, number>) =>
              [...row.keys()].reduce((sum, patch) => sum + sizes[b][1 + patch], 0);
            const sum = (of: (e: number) => number) => [0, 1, 2].map(of);
            const before = hidden.arraySync()[b];
            expectNear(
              tf.tensor1d(
                sum((e) => rows.reduce((total, row, u) => total + sizeOf(row) * merged[b][u][e], 0)),
              ),
              sum((e) => before.reduce((total, x, p) => total + sizes[b][1 + p] * x[e], 0)),
              'Σ s·x',
            );
            expect(rows.flatMap((row) => [...row.keys()]).sort((p, q) => p - q)).toEqual([...before.keys()]);
          }
        },
      ),
      runs,
    );
    // Token 4 is like token 1, token 2 like none; [CLS] is like token 3 and stays.
    const keys = tf.tensor4d([[[[0, 1], [1, 0], [-1, -1], [0, 1], [1, 0.1]]]]); // prettier-ignore
    const W = await mergeAlike(keys, [[1, 3, 1, 1, 1]], 1);
    expect(W.rows).toEqual([[new Map([[0, 0.75], [3, 0.25]]), new Map([[1, 1]]), new Map([[2, 1]])]]); // prettier-ignore
  });

  test('a key’s bias of log 2 is that key twice', () => {
    fc.assert(
      fc.property(randoms, axis(2), axis(4), (random, B, T) => {
        const [q, k, v] = Array.from({ length: 3 }, () => tf.tensor4d(draw(random, [B, 2, T, 3])));
        const twice = (x: tf.Tensor4D) => tf.concat([x, tf.slice(x, [0, 0, 0, 0], [B, 2, 1, 3])], 2);
        const keyBias = tf.tensor2d(
          Array.from({ length: B }, () => q.arraySync()[0][0].map((_, t) => (t === 0 ? Math.log(2) : 0))),
        );
        const expected = attend(q, twice(k), twice(v)).context.arraySync();
        for (const run of [attendBatched, attendByHead])
          expectNear(
            tf.tidy(() => run(q, k, v, { keyBias }).context),
            expected,
            run.name,
          );
      }),
      runs,
    );
  });

  test('a whole run: U tokens reach the decoder, U = P is the uncut model, nothing is left behind', async () => {
    const random = seededRandom(5);
    const pixels = draw(random, [2, 9, 9, 3]);
    for (const strategy of ['default', 'full'] as const) {
      const model = tinyLlava(random, { vision_feature_select_strategy: strategy });
      const input = { pixels: tf.tensor4d(pixels), prompts };
      const steps: string[] = [];
      const trace = watchSteps(({ name, shape }) => steps.push(`${name} ${shape[1]}`));
      const some = await runVlm(model, input, { ...options, trace });
      expect([some.promptTokens, some.kept]).toEqual([5 + 5 + (strategy === 'full' ? 1 : 0), undefined]);
      const hidden = steps.filter((step) => step.startsWith('vision.hidden'));
      expect(hidden.map((step) => Number(step.split(' ')[1]))).toEqual([17, 13, 9, 6]);
      const all = await runVlm(model, input, { ...options, budget: P });
      const full = await runVlm(model, input, { ...options, method: findMethod('none'), budget: P });
      expect([all.tokens, all.promptTokens]).toEqual([full.tokens, full.promptTokens]);
      await expectNewTensors(0, 'a run', () => runVlm(model, input, options));
    }
  });

  test('NaN is refused by name, and only the result is left in memory', async () => {
    const vision = tinyVision(seededRandom(6));
    const pixels = tf.tensor4d(draw(seededRandom(7), [1, 9, 9, 3]));
    const run = () => runCutting(vision, pixels, layers, mergingTo(6));
    await expectNewTensors(1, 'a merging tower', run);
    await expectNewTensors(0, 'a merging tower, disposed', async () => free(await run()));
    vision.weights.layers[1].self_attn.k_proj.bias = tf.fill([6], NaN);
    await expect(run()).rejects.toThrow('similarity[0, 0, 0] is NaN');
    await expectNewTensors(0, 'a merging tower that throws', run, true);
  });
});

describe('ToMe’s schedule', () => {
  test('ends at U, as even as can be, and never merges more than half', () => {
    const cases = fc.record({ n: axis(600), depth: axis(24), k: fc.nat() });
    fc.assert(
      fc.property(cases, ({ n, depth, k }) => {
        const least = Math.ceil(n / 2 ** depth);
        const U = least + (k % (n - least + 1));
        const merges = schedule(n, U, depth);
        let left = n;
        for (const r of merges) {
          expect(r >= 0 && r <= Math.floor(left / 2)).toBe(true);
          left -= r;
        }
        expect(left).toBe(U);
        const even = Math.ceil((n - U) / depth);
        if (U >= even) expect(Math.max(...merges) - Math.min(...merges)).toBeLessThanOrEqual(1);
      }),
    );
    expect(schedule(576, 64, 23)).toEqual([...Array<number>(6).fill(23), ...Array<number>(17).fill(22)]);
    expect(schedule(16, 2, 3)).toEqual([8, 4, 2]);
  });

  test('a budget that the layers cannot reach is refused, and features of several layers', () => {
    const message = 'tome: 3 layers merge 16 patches to 2 at least, not to 1';
    expect(() => mergingTo(1)).toThrow(new UserError(message));
    expect(() => mergingTo(4, { ...source, selectedLayer: -1 })).toThrow(UserError);
    const { config } = tinyLlava(seededRandom(1), { vision_feature_layer: [3, 1] });
    expect(() => prepare(config, options)).toThrow(
      new UserError('tome needs the features of one layer, but this checkpoint joins hidden 3, 1'),
    );
  });
});
