/** The deepest layer left open: what one token becomes depends on the others through keys and values alone. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { gatherTokens } from '../../src/tensor/gather.ts';
import { createTrace } from '../../src/tensor/trace.ts';
import { readHidden, runClipVision, visionTensors } from '../../src/vision/clip.ts';
import { describeEachBackend } from '../support/backends.ts';
import {
  axis,
  draw,
  expectEqual,
  expectNear,
  expectNewTensors,
  randoms,
  seededRandom,
} from '../support/random.ts';
import { tidyEachTest } from '../support/random.ts';
import { tinyVision } from '../support/tiny.ts';

const [N, D] = [17, 6];

describeEachBackend('a tower whose deepest layer is left open', () => {
  tidyEachTest();

  test('gives any tokens of that layer, in any order, as the whole layer does', () => {
    const places = fc.array(fc.nat(N - 1), { minLength: 1, maxLength: N });
    fc.assert(
      fc.property(randoms, axis(3), axis(4), places, (random, B, depth, chosen) => {
        const vision = tinyVision(random);
        const pixels = tf.tensor4d(draw(random, [B, 9, 9, 3]));
        const tokens = tf.tensor2d(
          Array.from({ length: B }, (_, b) => chosen.map((place) => (place + b) % N)),
          undefined,
          'int32',
        );
        const ask = { hidden: [depth, 0], clsAttention: [depth - 1], keys: [depth - 1, 0] };
        const whole = runClipVision(vision, pixels, ask);
        const open = runClipVision(vision, pixels, { ...ask, open: true });
        expect([whole.open, [...open.hidden.keys()]]).toEqual([undefined, [0]]);
        for (const index of ask.hidden) {
          const expected = gatherTokens(whole.hidden.get(index)!, tokens);
          expectNear(readHidden(vision, open, index, tokens), expected.arraySync(), `hidden[${index}]`);
          expectEqual(readHidden(vision, whole, index, tokens), expected, `whole hidden[${index}]`);
        }
        const row = open.clsAttention.get(depth - 1)!;
        expectEqual(row, whole.clsAttention.get(depth - 1)!, '[CLS] attention');
        for (const layer of ask.keys) expectEqual(open.keys.get(layer)!, whole.keys.get(layer)!, 'keys');
      }),
      { numRuns: 30 },
    );
  });

  test('computes nothing for a token that is not asked for', () => {
    const vision = tinyVision(seededRandom(1));
    const pixels = tf.tensor4d(draw(seededRandom(2), [1, 9, 9, 3]));
    const { hidden, open } = runClipVision(vision, pixels, { hidden: [3], open: true });
    expect(hidden.size).toBe(0);
    const tokens = tf.tensor2d([[3, 5]], undefined, 'int32');
    expect(readHidden(vision, { ...runClipVision(vision, pixels, {}), open }, 3, tokens).shape).toEqual([
      1,
      2,
      D,
    ]);
    // A token's own residual reaches no other token: spoil all but 3, 4 and 5, and those stay as they are.
    const kept = Array.from({ length: N * D }, (_, i) => (i < 3 * D || i >= 6 * D ? NaN : 0));
    const spoilt: tf.Tensor3D = tf.add(open!.hidden, tf.tensor3d(kept, [1, N, D]));
    const output = {
      hidden,
      attention: new Map(),
      clsAttention: new Map(),
      keys: new Map(),
      open: { ...open!, hidden: spoilt },
    };
    const clean = readHidden(vision, { ...output, open }, 3, tokens);
    expectEqual(readHidden(vision, output, 3, tokens), clean, 'hidden[3]');
  });

  test('is closed after all when a trace or its full attention is wanted', () => {
    const vision = tinyVision(seededRandom(3));
    const pixels = tf.tensor4d(draw(seededRandom(4), [1, 9, 9, 3]));
    const attended = runClipVision(vision, pixels, { hidden: [3], attention: [2], open: true });
    const trace = createTrace();
    const traced = runClipVision(vision, pixels, { hidden: [3], open: true }, trace);
    for (const { open, hidden } of [attended, traced])
      expect([open, [...hidden.keys()]]).toEqual([undefined, [3]]);
    expectEqual(traced.hidden.get(3)!, attended.hidden.get(3)!, 'hidden[3]');
    trace.dispose();
  });

  test('refuses what was not asked for, and leaves only its own tensors', async () => {
    const vision = tinyVision(seededRandom(5));
    const pixels = tf.tensor4d(draw(seededRandom(6), [1, 9, 9, 3]));
    const tokens = tf.tensor2d([[0]], undefined, 'int32');
    await expectNewTensors(0, 'an open tower', () => {
      const output = runClipVision(vision, pixels, {
        hidden: [2],
        clsAttention: [1],
        keys: [0, 1],
        open: true,
      });
      readHidden(vision, output, 2, tokens).dispose();
      tf.dispose(visionTensors(output));
    });
    const closed = runClipVision(vision, pixels, { hidden: [2] });
    expect(() => readHidden(vision, closed, 3, tokens)).toThrow('hidden[3] was not asked for');
  });
});
