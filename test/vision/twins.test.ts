import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { clipBlock } from '../../src/vision/block.ts';
import { free } from '../../src/tensor/scope.ts';
import { runClipVision, type VisionNeeds } from '../../src/vision/clip.ts';
import { patchCount } from '../../src/vision/config.ts';
import { cutPatches, embedImage } from '../../src/vision/embeddings.ts';
import { createTrace } from '../../src/tensor/trace.ts';
import * as twin from '../reference/vision.ts';
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
import { tinyVision, tinyVisionConfig, visionConfigs } from '../support/tiny.ts';

const runs = { numRuns: 30 };

/** Up to 3 blocks after one another, each with its own rounding. */
const towerBound = 3e-5;

const every = (n: number) => Array.from({ length: n }, (_, i) => i);

describeEachBackend('CLIP vision', () => {
  tidyEachTest();

  test('cutPatches and embedImage equal their twins', () => {
    fc.assert(
      fc.property(randoms, visionConfigs, axis(3), (random, config, B) => {
        const { weights } = tinyVision(random, config);
        const pixels = draw(random, [B, config.image_size, config.image_size, 3]);
        const input = tf.tensor4d(pixels);
        const patches = pixels.map((picture) => twin.cutPatches(picture, config.patch_size));
        expectNear(cutPatches(input, config), patches, 'patches', 0);
        const arrays = toArrays(weights);
        const tokens = pixels.map((picture) => twin.embedImage(arrays, picture, config));
        expectNear(embedImage(weights, input, config), tokens, 'tokens');
      }),
      runs,
    );
  });

  test('a block equals its twin, and its [CLS] row is that of its full attention', () => {
    fc.assert(
      fc.property(randoms, visionConfigs, axis(3), (random, config, B) => {
        const [weights] = tinyVision(random, config).weights.layers;
        const hidden = draw(random, [B, 1 + patchCount(config), config.hidden_size]);
        const block = clipBlock(weights, tf.tensor3d(hidden), config, {
          attention: true,
          clsAttention: true,
        });
        const arrays = toArrays(weights);
        const expected = hidden.map((tokens) => twin.clipBlock(arrays, tokens, config));
        expectNear(
          block.hidden,
          expected.map((item) => item.hidden),
          'hidden',
        );
        expectNear(
          block.attention!,
          expected.map((item) => item.attention),
          'attention',
        );
        expectNear(
          block.clsAttention!,
          expected.map((item) => twin.clsRow(item.attention)),
          '[CLS] row',
        );
        const full = block.attention!.arraySync();
        expectNear(block.clsAttention!, full.map(twin.clsRow), '[CLS] row of the full attention');
      }),
      runs,
    );
  });

  test('a whole tower equals its twin at every depth', () => {
    fc.assert(
      fc.property(randoms, visionConfigs, axis(3), (random, config, B) => {
        const vision = tinyVision(random, config);
        const pixels = draw(random, [B, config.image_size, config.image_size, 3]);
        const L = config.num_hidden_layers;
        const seen = runClipVision(vision, tf.tensor4d(pixels), {
          hidden: every(L + 1),
          attention: every(L),
          clsAttention: every(L),
        });
        const arrays = toArrays(vision.weights);
        const expected = pixels.map((picture) => twin.runClipVision(arrays, picture, config));
        for (const [i, hidden] of seen.hidden) {
          expectNear(
            hidden,
            expected.map((item) => item.hidden[i]),
            `hidden ${i}`,
            towerBound,
          );
        }
        for (const [l, attention] of seen.attention) {
          expectNear(
            attention,
            expected.map((item) => item.attention[l]),
            `attention ${l}`,
            towerBound,
          );
        }
        for (const [l, row] of seen.clsAttention) {
          expectNear(
            row,
            expected.map((item) => twin.clsRow(item.attention[l])),
            `[CLS] row ${l}`,
            towerBound,
          );
        }
        expect([seen.hidden.size, seen.attention.size, seen.clsAttention.size]).toEqual([L + 1, L, L]);
      }),
      runs,
    );
  });

  test('a batch equals its pictures one by one', () => {
    fc.assert(
      fc.property(randoms, visionConfigs, (random, config) => {
        const vision = tinyVision(random, config);
        const pixels = draw(random, [3, config.image_size, config.image_size, 3]);
        const last = config.num_hidden_layers;
        const ask = { hidden: [last], clsAttention: [last - 1] };
        const batch = runClipVision(vision, tf.tensor4d(pixels), ask);
        const single = pixels.map((picture) => runClipVision(vision, tf.tensor4d([picture]), ask));
        const hidden = single.map((item) => item.hidden.get(last)!.arraySync()[0]);
        const rows = single.map((item) => item.clsAttention.get(last - 1)!.arraySync()[0]);
        expectNear(batch.hidden.get(last)!, hidden, 'hidden');
        expectNear(batch.clsAttention.get(last - 1)!, rows, '[CLS] row');
      }),
      runs,
    );
  });

  const L = tinyVisionConfig.num_hidden_layers;
  const asks: [VisionNeeds, number][] = [
    [{}, 0],
    [{ hidden: [0] }, 0],
    [{ hidden: [2] }, 2],
    [{ hidden: [3, 1] }, 3],
    [{ clsAttention: [0] }, 1],
    [{ hidden: [1], clsAttention: [1, 2] }, 3],
    [{ hidden: [1], keys: [0, 2] }, 3],
    [{ attention: [1], hidden: [1] }, 2],
    [{ hidden: [L] }, L],
  ];
  test.each(asks)('asked for %j, only the first %i layers run', (ask, depth) => {
    const random = seededRandom(1);
    const vision = tinyVision(random);
    const pixels = tf.tensor4d(draw(random, [1, 9, 9, 3]));
    const layers = vision.weights.layers.slice(0, depth); // to run a layer that is not there would throw
    const shallow = { ...vision, weights: { ...vision.weights, layers } };
    const [whole, cut] = [vision, shallow].map((tower) => runClipVision(tower, pixels, ask));
    for (const kind of ['hidden', 'attention', 'clsAttention', 'keys'] as const) {
      expect([...cut[kind].keys()].sort()).toEqual([...(ask[kind] ?? [])].sort());
      for (const [i, tensor] of whole[kind]) expectEqual(cut[kind].get(i)!, tensor, `${kind} ${i}`);
    }
    if (depth < L) expect(() => runClipVision(shallow, pixels, { hidden: [depth + 1] })).toThrow();
  });

  test('what a layer computes reaches every hidden state after it, and none before', () => {
    const random = seededRandom(2);
    const vision = tinyVision(random);
    const pixels = tf.tensor4d(draw(random, [1, 9, 9, 3]));
    const ask = { hidden: every(L + 1), clsAttention: every(L) };
    const clean = runClipVision(vision, pixels, ask);
    vision.weights.layers[1].mlp.fc2.bias = tf.fill([6], NaN);
    const poisoned = runClipVision(vision, pixels, ask);
    const isNaN = (x: tf.Tensor) => x.dataSync().every(Number.isNaN);
    expect([...poisoned.hidden.values()].map(isNaN)).toEqual([false, false, true, true, true]);
    expect([...poisoned.clsAttention.values()].map(isNaN)).toEqual([false, false, true, true]);
    expectEqual(poisoned.hidden.get(1)!, clean.hidden.get(1)!, 'hidden 1');
    expectEqual(poisoned.clsAttention.get(1)!, clean.clsAttention.get(1)!, '[CLS] row 1');
  });

  test('a layer beyond the tower and a picture of another size are refused', () => {
    const vision = tinyVision(seededRandom(1));
    const pixels = tf.zeros([1, 9, 9, 3]) as tf.Tensor4D;
    expect(() => runClipVision(vision, pixels, { clsAttention: [4] })).toThrow(
      'asked for layer 4 of 4 vision layers (0..3)',
    );
    expect(() => runClipVision(vision, tf.zeros([1, 8, 8, 3]), {})).toThrow(
      'pixels is [1, 8, 8, 3], expected [B, S, S, 3] with S=9',
    );
  });

  test('only what was asked for is left in memory', async () => {
    const vision = tinyVision(seededRandom(1));
    const pixels = tf.zeros([2, 9, 9, 3]) as tf.Tensor4D;
    const hidden = tf.zeros([2, 17, 6]) as tf.Tensor3D;
    const [layer] = vision.weights.layers;
    const narrow = tf.zeros([2, 17, 5]) as tf.Tensor3D;
    await expectNewTensors(1, 'cutPatches', () => cutPatches(pixels, tinyVisionConfig));
    await expectNewTensors(1, 'embedImage', () => embedImage(vision.weights, pixels, tinyVisionConfig));
    await expectNewTensors(1, 'clipBlock', () => clipBlock(layer, hidden, tinyVisionConfig));
    const both = { attention: true, clsAttention: true };
    await expectNewTensors(3, 'clipBlock with attention', () =>
      clipBlock(layer, hidden, tinyVisionConfig, both),
    );
    await expectNewTensors(
      0,
      'clipBlock that throws',
      () => clipBlock(layer, narrow, tinyVisionConfig),
      true,
    );
    await expectNewTensors(0, 'runClipVision for nothing', () => runClipVision(vision, pixels, {}));
    const ask = { hidden: [0, 3], attention: [1], clsAttention: [0, 2], keys: [1, 2] };
    await expectNewTensors(7, 'runClipVision', () => runClipVision(vision, pixels, ask));
    await expectNewTensors(0, 'runClipVision, disposed', () => free(runClipVision(vision, pixels, ask)));
    await expectNewTensors(
      0,
      'runClipVision that throws',
      () => runClipVision(vision, pixels, { hidden: [5] }),
      true,
    );
    const broken = {
      ...vision,
      weights: { ...vision.weights, layers: [layer, { ...layer, mlp: vision.weights } as never] },
    };
    await expectNewTensors(
      0,
      'runClipVision that throws halfway',
      () => runClipVision(broken, pixels, ask),
      true,
    );
    await expectNewTensors(0, 'a traced run, disposed', () => {
      const trace = createTrace();
      runClipVision(vision, pixels, {}, trace);
      trace.dispose();
    });
  });
});
