/** A last layer that is finished only for the tokens that W picks: the same numbers, and fewer of them. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { identity, matrixOf, meanOf, picking, type TokenMatrix } from '../../src/tensor/token-matrix.ts';
import { createTrace } from '../../src/tensor/trace.ts';
import { patchCount } from '../../src/vision/config.ts';
import { clipTower, type Sight } from '../../src/vision/tower.ts';
import { describeEachBackend } from '../support/backends.ts';
import {
  axis,
  draw,
  expectNear,
  randoms,
  seededRandom,
  tidyEachTest,
  type Random,
} from '../support/random.ts';
import { tinyVision, tinyVisionConfig } from '../support/tiny.ts';

const [depth, P] = [3, patchCount(tinyVisionConfig)];
const runs = { numRuns: 12 };

describeEachBackend('features', () => {
  tidyEachTest();

  /** The same tower and pictures, its last layer left open, and whole: a trace sees every layer. */
  async function seeTwice(random: Random, B: number): Promise<[open: Sight, whole: Sight]> {
    const S = tinyVisionConfig.image_size;
    const [tower, pixels] = [clipTower(tinyVision(random)), tf.tensor4d(draw(random, [B, S, S, 3]))];
    const needs = { features: [depth], clsAttention: [0, depth - 1], keys: [depth - 1] };
    const watched = createTrace(() => false);
    return [await tower.run(pixels, needs), await tower.run(pixels, needs, undefined, watched)];
  }
  const same = (a: tf.Tensor, b: tf.Tensor, what: string) => expectNear(a, b.arraySync(), what);

  test('are those of the whole layer, as W picks, merges or keeps all; and so is what methods read of it', async () => {
    await fc.assert(
      fc.asyncProperty(randoms, axis(2), axis(P), async (random, B, U) => {
        const [open, whole] = await seeTwice(random, B);
        const some = () => [...Array(P).keys()].sort(() => random() - 0.5).slice(0, U);
        const pictures = Array.from({ length: B }, some);
        const ways: TokenMatrix[] = [
          picking(pictures, P),
          matrixOf(
            pictures.map((places) => [meanOf(places)]),
            P,
          ),
          identity(B, P),
        ];
        for (const W of ways) same(open.features.times(W), whole.features.times(W), `W ${W.shape.join()}`);
        const none = matrixOf(
          Array.from({ length: B }, () => []),
          P,
        );
        expect(open.features.times(none).shape).toEqual([B, 0, tinyVisionConfig.hidden_size]);
        same(open.features.cls()!, whole.features.cls()!, '[CLS]');
        same(open.features.F(), whole.features.F(), 'F');
        for (const layer of [0, depth - 1]) {
          same(open.clsAttention.get(layer)!, whole.clsAttention.get(layer)!, `[CLS] row of ${layer}`);
        }
        same(open.keys.get(depth - 1)!, whole.keys.get(depth - 1)!, 'keys');
      }),
      runs,
    );
  });

  test('compute nothing of tokens that W leaves out, and free what they hold', async () => {
    const [open, whole] = await seeTwice(seededRandom(1), 1);
    const W = picking([[1, 5, 6]], P);
    const profile = await tf.profile(() => open.features.times(W));
    const rows = tf.util.sizeFromShape([P + 1, tinyVisionConfig.intermediate_size]);
    const sizes = profile.kernels.flatMap(({ outputShapes }) =>
      (outputShapes as number[][]).map((shape) => tf.util.sizeFromShape(shape)),
    );
    expect(Math.max(...sizes)).toBeLessThan(rows);
    expect(sizes).toContain(3 * tinyVisionConfig.intermediate_size);
    expect(profile.newTensors).toBe(1);
    const before = tf.memory().numTensors;
    open.features.F();
    expect(tf.memory().numTensors).toBe(before + 2); // F and [CLS]
    open.features.dispose();
    expect(tf.memory().numTensors).toBe(before - 4); // what the layer was left open with
    whole.features.dispose();
  });
});
