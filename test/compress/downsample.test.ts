/** Downsampling: the same tower on a smaller picture. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { downsample } from '../../src/compress/downsample.ts';
import { findMethod } from '../../src/compress/registry.ts';
import { UserError } from '../../src/errors.ts';
import { followPatches } from '../../src/eval/run/follow.ts';
import { loadModel } from '../../src/node/checkpoint.ts';
import { free } from '../../src/tensor/scope.ts';
import { createTrace } from '../../src/tensor/trace.ts';
import { cellsOf, coarsenTower, shrinkPictures } from '../../src/vision/coarse.ts';
import { runClipVision, type ClipVision } from '../../src/vision/clip.ts';
import { gridSide } from '../../src/vision/config.ts';
import { clipTower } from '../../src/vision/tower.ts';
import * as coarse from '../reference/coarse.ts';
import * as twin from '../reference/vision.ts';
import { describeEachBackend } from '../support/backends.ts';
import { expectClose, golden, readExpected } from '../support/golden.ts';
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
import { tinyLlava, tinyVision, tinyVisionConfig, visionConfigs } from '../support/tiny.ts';

const [G, P] = [4, 16]; // of the tiny tower
const runs = { numRuns: 20 };
const prompts = [
  { before: [1, 5], after: [7, 3, 4] },
  { before: [1, 5, 6], after: [9, 2] },
];
const options = (budget: number, name = 'downsample'): RunOptions => {
  const method = findMethod(name);
  return { method, methodOptions: method.defaults, budget, maxNewTokens: 3 };
};

/** F and [CLS] of a tower that is shown g × g patches. */
async function seeCoarse(vision: ClipVision, pixels: tf.Tensor4D, layer: number, grid: number) {
  const { features } = await clipTower(vision).run(pixels, { features: [layer] }, { grid });
  const hidden = tf.tidy(() => tf.concat([features.cls()!, features.F()], 1));
  features.dispose();
  return hidden;
}

describeEachBackend('downsampling', () => {
  tidyEachTest();

  test('pixels, positions and hidden states equal their twins, whatever rest of the picture is beyond the patches', async () => {
    await fc.assert(
      fc.asyncProperty(randoms, visionConfigs, axis(2), fc.nat(), async (random, config, B, n) => {
        const vision = tinyVision(random, config);
        const grid = 1 + (n % gridSide(config));
        const pixels = draw(random, [B, config.image_size, config.image_size, 3]);
        const arrays = toArrays(vision.weights);
        const twins = pixels.map((picture) => coarse.coarsen(arrays, picture, config, grid));
        const input = tf.tensor4d(pixels);
        expectNear(shrinkPictures(input, config, grid), twins.map((one) => one.pixels), 'pixels'); // prettier-ignore
        const { position_embedding } = coarsenTower(vision, grid).weights;
        expectNear(position_embedding, twins[0].weights.position_embedding, 'positions');
        const depth = config.num_hidden_layers;
        const expected = twins.map(
          (one) => twin.runClipVision(one.weights, one.pixels, one.config).hidden[depth],
        );
        expectNear(await seeCoarse(vision, input, depth, grid), expected, 'hidden', 3e-5);
      }),
      runs,
    );
  });

  test.each(['clip-vision', 'llava-v5keys'])(
    '%s: pixels are Pillow’s, positions PyTorch’s, hidden states those of interpolate_pos_encoding',
    async (folder) => {
      const model = await loadModel(golden(folder));
      const inputs = await readExpected(golden(folder, 'expected.safetensors'));
      const oracle = await readExpected(golden('downsample.safetensors'));
      const read = async (name: string) =>
        tf.transpose((await oracle.float(name)) as tf.Tensor4D, [0, 2, 3, 1]);
      try {
        const vision = model.llava?.vision ?? model.vision!;
        const pixels = tf.transpose((await inputs.float('pixel_values')) as tf.Tensor4D, [0, 2, 3, 1]);
        const names = oracle.names.filter((name) => name.startsWith(folder) && name.endsWith('.hidden'));
        expect(names).toHaveLength(gridSide(vision.config) - 1);
        for (const name of names.map((one) => one.replace('.hidden', ''))) {
          const g = Number(name.split('.g')[1]);
          expectClose(shrinkPictures(pixels, vision.config, g), await read(`${name}.pixels`), 'pixels', 1e-5);
          const { position_embedding } = coarsenTower(vision, g).weights;
          expectClose(position_embedding, await oracle.float(`${name}.positions`), 'positions', 1e-5);
          const layer = vision.config.num_hidden_layers - 1;
          const hidden = await seeCoarse(vision, pixels, layer, g);
          expectClose(hidden, await oracle.float(`${name}.hidden`), `hidden of ${name}`, 2e-5);
        }
      } finally {
        await Promise.all([inputs.close(), oracle.close()]);
        model.dispose();
      }
    },
  );

  test('with U = P it is the uncut model, bit by bit', async () => {
    for (const strategy of ['default', 'full'] as const) {
      const model = tinyLlava(seededRandom(5), { vision_feature_select_strategy: strategy });
      const input = { pixels: tf.tensor4d(draw(seededRandom(6), [2, 9, 9, 3])), prompts };
      const run = async (name: string) => {
        const trace = createTrace((step) => ['vision.features', 'decoder.logits'].includes(step));
        const { tokens } = await runVlm(model, input, { ...options(P, name), trace });
        return { tokens, tensors: trace.tensors, matrices: trace.matrices };
      };
      const [all, none] = [await run('downsample'), await run('none')];
      expect(all.tokens).toEqual(none.tokens);
      for (const [name, tensor] of all.tensors) expectEqual(tensor, none.tensors.get(name)!, name);
      expect(followPatches(all.matrices.values(), strategy === 'full')).toEqual(
        followPatches(none.matrices.values(), strategy === 'full'),
      );
    }
  });

  test('the tower runs once, on 1 + U tokens; F are its patches in raster order; nothing is left behind', async () => {
    for (const strategy of ['default', 'full'] as const) {
      const model = tinyLlava(seededRandom(5), { vision_feature_select_strategy: strategy });
      const pixels = tf.tensor4d(draw(seededRandom(6), [2, 9, 9, 3]));
      const trace = createTrace((name) => name === 'vision.features');
      const run = () => runVlm(model, { pixels, prompts }, options(9));
      const { promptTokens, kept } = await runVlm(model, { pixels, prompts }, { ...options(9), trace });
      expect([promptTokens, kept]).toEqual([5 + 9 + (strategy === 'full' ? 1 : 0), undefined]);
      const shapes = trace.steps.filter(({ name }) => name.startsWith('vision.')).map(({ name, shape }) => [name, ...shape].join(' ')); // prettier-ignore
      const layers = ['00', '01', '02', '03'].map((l) => `vision.hidden.${l} 2 10 6`);
      expect(shapes).toEqual(['vision.cells 2 9 16', 'vision.pixels 2 6 6 3', ...layers, 'vision.features 2 9 6']); // prettier-ignore
      const tower = coarsenTower(model.vision, 3);
      const small = shrinkPictures(pixels, model.vision.config, 3);
      const hidden = runClipVision(tower, small, { hidden: [3] }).hidden.get(3)!;
      const F = tf.slice(hidden, [0, 1, 0], [2, 9, 6]);
      expectEqual(trace.tensors.get('vision.features')!, F, 'F');
      await expectNewTensors(0, 'a run', run);
    }
  });

  test('a batch is its pictures one by one', async () => {
    const vision = tinyVision(seededRandom(7));
    const pixels = draw(seededRandom(8), [3, 9, 9, 3]);
    const see = (some: number[][][][]) => seeCoarse(vision, tf.tensor4d(some), 3, 2);
    const single: number[][][] = [];
    for (const picture of pixels) single.push((await see([picture])).arraySync()[0]);
    expectNear(await see(pixels), single, 'hidden');
  });

  test('a grey picture stays grey, and a table of one position stays that position', () => {
    fc.assert(
      fc.property(randoms, axis(G), (random, g) => {
        const [value, vision] = [random(), tinyVision(random)];
        const grey = shrinkPictures(tf.fill([1, 9, 9, 3], value), tinyVisionConfig, g);
        expectNear(grey, tf.fill(grey.shape, value).arraySync(), 'grey');
        const weights = { ...vision.weights, position_embedding: tf.fill<tf.Rank.R2>([1 + P, 6], value) };
        const { position_embedding } = coarsenTower({ ...vision, weights }, g).weights;
        expectNear(position_embedding, tf.fill([1 + g * g, 6], value).arraySync(), 'positions');
      }),
      runs,
    );
  });

  test('what it made is the caller’s to free: one table of positions, one picture', async () => {
    const vision = tinyVision(seededRandom(9));
    const pixels = tf.tensor4d(draw(seededRandom(8), [1, 9, 9, 3]));
    await expectNewTensors(1, 'a coarser tower', () => coarsenTower(vision, 2));
    await expectNewTensors(1, 'a smaller picture', () => shrinkPictures(pixels, vision.config, 2));
    await expectNewTensors(0, 'a sight, disposed', async () =>
      free(await clipTower(vision).run(pixels, { features: [3] }, { grid: 2 })),
    );
  });

  test('it goes before a method that reads F or works in the decoder, not before one that reads the tower', async () => {
    const model = tinyLlava(seededRandom(5));
    const input = { pixels: tf.tensor4d(draw(seededRandom(6), [2, 9, 9, 3])), prompts };
    const deep = await runVlm(model, input, options(1, 'downsample+fastv')); // 16 → 4 → 1
    expect(deep.prefillLengths).toEqual([9, 9, 6]);
    const trace = createTrace(() => false);
    const flat = await runVlm(model, input, { ...options(1, 'downsample+divprune'), trace });
    expect(flat.prefillLengths).toEqual([6, 6, 6]);
    expect(followPatches(trace.matrices.values(), false)[0].groups.filter((group) => group === 0)).toHaveLength(4); // prettier-ignore
    await expect(runVlm(model, input, options(1, 'downsample+vtc-cls'))).rejects.toThrow(
      new UserError("downsample+vtc-cls: vtc-cls reads the tower's attention of every patch, of which downsample leaves fewer"), // prettier-ignore
    );
  });
});

describe('which patches lie under a coarser one', () => {
  test('shares of area: of each coarser patch they sum to 1, of each patch to g²/G² in all', () => {
    fc.assert(
      fc.property(axis(24), fc.nat(), axis(2), (G, n, B) => {
        const g = 1 + (n % G);
        const W = cellsOf(B, G, g);
        expect(W.shape).toEqual([B, g * g, G * G]);
        const covered = Array<number>(G * G).fill(0);
        for (const row of W.rows[B - 1]) {
          let sum = 0;
          for (const [patch, share] of row) {
            expect(share).toBeGreaterThan(0);
            sum += share;
            covered[patch] += share;
          }
          expect(sum).toBeCloseTo(1, 9);
        }
        for (const sum of covered) expect(sum).toBeCloseTo((g / G) ** 2, 9);
      }),
    );
  });

  test('2 × 2 of 3 × 3: the patch in the middle is shared by all, the corner is in one', () => {
    const [first] = cellsOf(1, 3, 2).rows[0];
    expect([...first].map(([patch, share]) => [patch, Math.round(9 * share * 4)])).toEqual([
      [0, 16],
      [1, 8],
      [3, 8],
      [4, 4],
    ]);
    expect(cellsOf(1, 3, 3).rows[0].map((row) => [...row])).toEqual(
      [...Array(9).keys()].map((p) => [[p, 1]]),
    );
  });
});

test.each([
  [13, 100, '9 (3 × 3) and 16 (4 × 4)'],
  [50, 100, '49 (7 × 7) and 64 (8 × 8)'],
  [6, 100, '4 (2 × 2) and 9 (3 × 3)'],
  [2, 4, '1 (1 × 1) and 4 (2 × 2)'],
  [575, 576, '529 (23 × 23) and 576 (24 × 24)'],
])('%i of %i patches are refused: %s are the nearest', (budget, patches, nearest) => {
  const message = `downsample: ${budget} patches are no square picture; the nearest budgets are ${nearest}`;
  expect(() => downsample.prepare(sourceOf({ patches }), budget, {}, {})).toThrow(new UserError(message));
});

test.each([1, 4, 9, 16, 25, 36, 49, 64, 81, 100])('%i of 100 patches are a picture', (budget) => {
  const { inTower } = downsample.prepare(sourceOf({ patches: 100 }), budget, {}, {});
  expect(inTower).toEqual({ grid: Math.sqrt(budget) });
});
