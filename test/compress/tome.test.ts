/** ToMe, inside the tower. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { countMerges, mergeAlike, tome } from '../../src/compress/tome.ts';
import { findMethod } from '../../src/compress/registry.ts';
import { UserError } from '../../src/errors.ts';
import { attend, attendBatched, attendByHead } from '../../src/tensor/attention.ts';
import { runClipVision, visionTensors } from '../../src/vision/clip.ts';
import { runMergingVision } from '../../src/vision/merging.ts';
import { mergeOf } from '../../src/fit.ts';
import { runVlm, type VlmOptions } from '../../src/vlm.ts';
import { tomeTower } from '../reference/field.ts';
import { describeEachBackend } from '../support/backends.ts';
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
const source = { layers: 4, selectedLayer: layers - 1, patches: P };
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

const options: VlmOptions = {
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

  test('a merging tower equals its twin, U tokens exactly and [CLS]', () => {
    fc.assert(
      fc.property(randoms, budgets, axis(2), (random, U, B) => {
        const vision = tinyVision(random);
        const pixels = draw(random, [B, 9, 9, 3]);
        const { hidden } = runMergingVision(vision, tf.tensor4d(pixels), layers, tome.merge!(source, U, {}));
        const arrays = toArrays(vision.weights);
        const merges = schedule(P, U, layers);
        const expected = pixels.map((one) => tomeTower(arrays, one, vision.config, merges).hidden);
        expect(hidden.get(layers)!.shape).toEqual([B, 1 + U, 6]);
        expectNear(hidden.get(layers)!, expected, 'hidden');
      }),
      runs,
    );
  });

  test('without merges it is the plain tower, bit by bit', () => {
    fc.assert(
      fc.property(randoms, axis(4), (random, depth) => {
        const vision = tinyVision(random);
        const pixels = tf.tensor4d(draw(random, [2, 9, 9, 3]));
        const plain = runClipVision(vision, pixels, { hidden: [depth] }).hidden.get(depth)!;
        for (const merge of [
          tome.merge!({ ...source, selectedLayer: depth - 1 }, P, {}),
          (_: number, tokens: Parameters<typeof mergeAlike>[0]) => tokens,
        ]) {
          const merging = runMergingVision(vision, pixels, depth, merge).hidden.get(depth)!;
          expectEqual(merging, plain, `hidden[${depth}]`);
        }
      }),
      runs,
    );
  });

  test('a batch merges as its pictures one by one', () => {
    fc.assert(
      fc.property(randoms, budgets, (random, U) => {
        const vision = tinyVision(random);
        const pixels = draw(random, [3, 9, 9, 3]);
        const merge = tome.merge!(source, U, {});
        const see = (some: number[][][][]) =>
          runMergingVision(vision, tf.tensor4d(some), layers, merge).hidden.get(layers)!;
        const single = pixels.map((picture) => see([picture]).arraySync()[0]);
        expectNear(see(pixels), single, 'hidden');
      }),
      runs,
    );
  });

  test('a merge keeps the sum of s·x and of s, and [CLS] as it is, and puts the most alike together', () => {
    fc.assert(
      fc.property(randoms, fc.integer({ min: 1, max: 8 }), axis(2), fc.nat(), (random, half, B, n) => {
        const N = 1 + 2 * half;
        const hidden = tf.tensor3d(draw(random, [B, N, 3]));
        const sizes = tf.tensor3d(
          draw(random, [B, N, 1]).map((item) => item.map(([x]) => [1 + Math.floor(2 + 2 * x)])),
        );
        const keys = tf.tensor4d(draw(random, [B, 2, N, 4]));
        const r = n % (half + 1);
        const merged = tf.tidy(() => mergeAlike({ hidden, sizes }, keys, r));
        const sums = (tokens: typeof merged) => tf.sum<tf.Tensor2D>(tf.mul(tokens.hidden, tokens.sizes), 1);
        expect(merged.hidden.shape).toEqual([B, N - r, 3]);
        expectNear(sums(merged), sums({ hidden, sizes }).arraySync(), 'Σ s·x');
        expectEqual(tf.sum(merged.sizes, 1), tf.sum(sizes, 1), 'Σ s');
        expectNear(
          tf.slice(merged.hidden, [0, 0, 0], [B, 1, 3]),
          tf.slice(hidden, [0, 0, 0], [B, 1, 3]).arraySync(),
          '[CLS]',
          1e-6,
        );
      }),
      runs,
    );
    // Token 4 is like token 1, token 2 like none; [CLS] is like token 3 and stays.
    const keys = tf.tensor4d([
      [
        [
          [0, 1],
          [1, 0],
          [-1, -1],
          [0, 1],
          [1, 0.1],
        ],
      ],
    ]);
    const hidden = tf.tensor3d([[[10], [1], [2], [3], [4]]]);
    const merged = tf.tidy(() =>
      mergeAlike({ hidden, sizes: tf.tensor3d([[[1], [3], [1], [1], [1]]]) }, keys, 1),
    );
    expect(merged.hidden.arraySync()).toEqual([[[10], [1.75], [2], [3]]]);
    expect(merged.sizes.arraySync()).toEqual([[[1], [4], [1], [1]]]);
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
      const onStep = ({ name, shape }: { name: string; shape: number[] }) =>
        steps.push(`${name} ${shape[1]}`);
      const some = await runVlm(model, input, { ...options, onStep });
      expect([some.promptTokens, some.kept]).toEqual([5 + 5 + (strategy === 'full' ? 1 : 0), undefined]);
      expect(steps.slice(1, 5)).toEqual(['hidden[0] 17', 'hidden[1] 13', 'hidden[2] 9', 'hidden[3] 6']);
      const all = await runVlm(model, input, { ...options, budget: P });
      const full = await runVlm(model, input, { ...options, method: findMethod('none'), budget: P });
      expect([all.tokens, all.promptTokens]).toEqual([full.tokens, full.promptTokens]);
      await expectNewTensors(0, 'a run', () => runVlm(model, input, options));
    }
  });

  test('NaN is refused by name, and only the result is left in memory', async () => {
    const vision = tinyVision(seededRandom(6));
    const pixels = tf.tensor4d(draw(seededRandom(7), [1, 9, 9, 3]));
    const run = () => runMergingVision(vision, pixels, layers, tome.merge!(source, 6, {}));
    await expectNewTensors(1, 'a merging tower', run);
    await expectNewTensors(0, 'a merging tower, disposed', () => tf.dispose(visionTensors(run())));
    vision.weights.layers[1].self_attn.k_proj.bias = tf.fill([6], NaN);
    expect(run).toThrow('similarity[0, 0, 0] is NaN');
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
    expect(() => tome.merge!(source, 1, {})).toThrow(new UserError(message));
    expect(() => tome.asks({ layers: 4, selectedLayer: -1 }, {})).toThrow(UserError);
    const { config } = tinyLlava(seededRandom(1), { vision_feature_layer: [3, 1] });
    expect(() => mergeOf(config, options)).toThrow(
      new UserError('tome needs the features of one layer, but this checkpoint joins hidden 3, 1'),
    );
  });
});
