import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { llamaBlock } from '../../src/decoder/block.ts';
import { createCache } from '../../src/decoder/cache.ts';
import { runLlama } from '../../src/decoder/llama.ts';
import { createRope, ropeAt } from '../../src/decoder/rope.ts';
import { embedText, spliceImage } from '../../src/decoder/splice.ts';
import { causalMask } from '../../src/tensor/attention.ts';
import * as twin from '../reference/llama.ts';
import { describeEachBackend } from '../support/backends.ts';
import {
  axis,
  draw,
  expectNear,
  expectNewTensors,
  randoms,
  seededRandom,
  tidyEachTest,
  toArrays,
  type Random,
} from '../support/random.ts';
import { llamaConfigs, tinyLlama, tinyLlamaConfig } from '../support/tiny.ts';

const runs = { numRuns: 30 };

/** Up to 3 blocks after one another, each with its own rounding. */
const towerBound = 3e-5;

/** Positions that grow by 1 to 3 a token, as after pruning with original positions. */
function gappedPositions(random: Random, B: number, T: number): number[][] {
  return Array.from({ length: B }, () => {
    let p = -1;
    return Array.from({ length: T }, () => (p += 1 + Math.floor(3 * random())));
  });
}

describeEachBackend('LLaMA', () => {
  tidyEachTest();

  test('a block equals its twin: hidden state, attention, keys and values', () => {
    fc.assert(
      fc.property(randoms, llamaConfigs, axis(3), axis(5), (random, config, B, T) => {
        const [weights] = tinyLlama(random, config).weights.layers;
        const hidden = draw(random, [B, T, config.hidden_size]);
        const positions = gappedPositions(random, B, T);
        const block = llamaBlock(weights, tf.tensor3d(hidden), config, {
          rope: ropeAt(createRope(config, 3 * T), tf.tensor2d(positions, [B, T], 'int32')),
          mask: causalMask(T, T),
          keepAttention: true,
        });
        const arrays = toArrays(weights);
        const expected = hidden.map((tokens, b) => twin.llamaBlock(arrays, tokens, positions[b], config));
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
          block.keys,
          expected.map((item) => item.keys),
          'keys',
        );
        expectNear(
          block.values,
          expected.map((item) => item.values),
          'values',
        );
      }),
      runs,
    );
  });

  test('a whole prefill equals its twin, and the last logits are the last of all', async () => {
    await fc.assert(
      fc.asyncProperty(randoms, llamaConfigs, axis(3), axis(5), async (random, config, B, T) => {
        const llama = tinyLlama(random, config);
        const hidden = draw(random, [B, T, config.hidden_size]);
        const positions = gappedPositions(random, B, T);
        const input = {
          hidden: tf.tensor3d(hidden),
          positions: tf.tensor2d(positions, [B, T], 'int32'),
          roles: positions.map((row) => row.map(() => 'text' as const)),
        };
        const rope = createRope(config, 3 * T);
        const all = await runLlama(llama, input, { rope, cache: createCache(), allLogits: true });
        const arrays = toArrays(llama.weights);
        const expected = hidden.map((tokens, b) => twin.runLlama(arrays, tokens, positions[b], config));
        expectNear(all, expected, 'logits', towerBound);
        const last = await runLlama(llama, input, { rope, cache: createCache() });
        expectNear(
          last,
          expected.map((rows) => [rows[T - 1]]),
          'last logits',
          towerBound,
        );
      }),
      runs,
    );
  });

  test('a prompt is its text and its visual tokens, in order, at their places', () => {
    fc.assert(
      fc.property(
        randoms,
        axis(3),
        fc.nat(3),
        fc.nat(3),
        axis(4),
        fc.nat(3),
        (random, B, n, m, U, dropped) => {
          fc.pre(n + m > 0);
          const llama = tinyLlama(random);
          const table = (llama.weights.embed_tokens as tf.Tensor2D).arraySync();
          const ids = (count: number) => Array.from({ length: count }, () => Math.floor(19 * random()));
          // The items need not have the picture at one place.
          const prompts = Array.from({ length: B }, (_, b) =>
            b % 2 ? { before: ids(m), after: ids(n) } : { before: ids(n), after: ids(m) },
          );
          const visual = draw(random, [B, U, 8]);
          const places = prompts.map(() => Array.from({ length: U }, (_, u) => u + Math.min(u, dropped)));
          const original = { places, length: U + dropped };
          const rows = prompts.map(({ before, after }, b) => [
            ...before.map((id) => table[id]),
            ...visual[b],
            ...after.map((id) => table[id]),
          ]);
          const T = n + m + U;
          const plain = spliceImage(llama, prompts, tf.tensor3d(visual));
          expectNear(plain.hidden, rows, 'hidden', 0);
          expectNear(
            plain.positions,
            prompts.map(() => Array.from({ length: T }, (_, t) => t)),
            'positions',
            0,
          );
          expect(plain.nextPosition).toBe(T);
          const spread = spliceImage(llama, prompts, tf.tensor3d(visual), original);
          expectNear(spread.hidden, rows, 'hidden', 0);
          const uncut = (b: number) =>
            Array.from({ length: T + dropped }, (_, t) => t - prompts[b].before.length);
          const positions = prompts.map(({ before }, b) =>
            uncut(b)
              .filter((p) => p < 0 || p >= U + dropped || places[b].includes(p))
              .map((p) => p + before.length),
          );
          expectNear(spread.positions, positions, 'original positions', 0);
          expect(spread.nextPosition).toBe(T + dropped);
          for (const input of [plain, spread]) {
            expect(input.roles.map((row) => row.map((role) => role[0]).join(''))).toEqual(
              prompts.map(
                ({ before, after }) => 't'.repeat(before.length) + 'i'.repeat(U) + 't'.repeat(after.length),
              ),
            );
          }
        },
      ),
      runs,
    );
  });

  test('only the results are left in memory', async () => {
    const llama = tinyLlama(seededRandom(1));
    const [layer] = llama.weights.layers;
    const rope = createRope(tinyLlamaConfig, 4);
    const at = tf.tidy(() => ropeAt(rope, tf.tensor2d([[0, 3]], [1, 2], 'int32')));
    const hidden = tf.ones([1, 2, 8]) as tf.Tensor3D;
    const narrow = tf.ones([1, 2, 7]) as tf.Tensor3D;
    const prompts = [{ before: [1], after: [2, 3] }];
    const ragged = [...prompts, { before: [1], after: [2] }];
    await expectNewTensors(3, 'llamaBlock', () => llamaBlock(layer, hidden, tinyLlamaConfig, { rope: at }));
    await expectNewTensors(4, 'llamaBlock with attention', () =>
      llamaBlock(layer, hidden, tinyLlamaConfig, { rope: at, keepAttention: true }),
    );
    await expectNewTensors(
      0,
      'llamaBlock that throws',
      () => llamaBlock(layer, narrow, tinyLlamaConfig, { rope: at }),
      true,
    );
    await expectNewTensors(2, 'embedText', () => embedText(llama, [[1, 2]]));
    await expectNewTensors(2, 'spliceImage', () => spliceImage(llama, prompts, hidden));
    await expectNewTensors(0, 'spliceImage that throws', () => spliceImage(llama, prompts, narrow), true);
    const two = tf.ones([2, 2, 8]) as tf.Tensor3D;
    await expectNewTensors(0, 'spliceImage of ragged prompts', () => spliceImage(llama, ragged, two), true);
  });
});
