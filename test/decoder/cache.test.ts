import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cacheLengths, createCache, updateCache, type KvCache } from '../../src/decoder/cache.ts';
import { decode, generate, prefill } from '../../src/decoder/generate.ts';
import { runLlama, type Llama } from '../../src/decoder/llama.ts';
import { createRope } from '../../src/decoder/rope.ts';
import { imagePlaces } from '../../src/decoder/cut.ts';
import { embedText } from '../../src/decoder/splice.ts';
import type { DecoderState, LayerHook } from '../../src/decoder/state.ts';
import { UserError } from '../../src/errors.ts';
import { picking } from '../../src/tensor/token-matrix.ts';
import { describeEachBackend } from '../support/backends.ts';
import {
  axis,
  draw,
  expectNear,
  expectNewTensors,
  randoms,
  seededRandom,
  tidyEachTest,
} from '../support/random.ts';
import { llamaConfigs, tinyLlama, tinyLlamaConfig } from '../support/tiny.ts';

const runs = { numRuns: 25 };

/** The same sums in another order, through up to 3 blocks. */
const bound = 5e-6;

/** The tokens from..to of a state. */
function cut(state: DecoderState, from: number, to: number): DecoderState {
  const [B, , E] = state.hidden.shape;
  return {
    hidden: tf.slice(state.hidden, [0, from, 0], [B, to - from, E]),
    positions: tf.slice(state.positions, [0, from], [B, to - from]),
    roles: state.roles.map((row) => row.slice(from, to)),
  };
}

/** Runs a sequence in chunks that end at the given tokens, through one cache; all logits [B, T', V] of each chunk. */
async function runInChunks(
  llama: Llama,
  input: DecoderState,
  ends: number[],
  hook?: LayerHook,
): Promise<{ logits: tf.Tensor3D[]; cache: KvCache }> {
  const rope = createRope(llama.config, 64);
  const cache = createCache();
  const logits: tf.Tensor3D[] = [];
  for (const [i, end] of ends.entries()) {
    const chunk = cut(input, ends[i - 1] ?? 0, end);
    logits.push(await runLlama(llama, chunk, { rope, cache, hook, allLogits: true }));
  }
  return { logits, cache };
}

/** Text of random embeddings, with an image of `image` tokens from token `start` on in every item. */
function randomInput(llama: Llama, seed: number, B: number, T: number, start = 0, image = 0): DecoderState {
  const role = (t: number) => (t >= start && t < start + image ? ('image' as const) : ('text' as const));
  return {
    hidden: tf.tensor3d(draw(seededRandom(seed), [B, T, llama.config.hidden_size])),
    positions: tf.tensor2d(
      Array.from({ length: B }, () => [...Array(T).keys()]),
      [B, T],
      'int32',
    ),
    roles: Array.from({ length: B }, () => Array.from({ length: T }, (_, t) => role(t))),
  };
}

/**
 * Keeps every other image token before one layer and every other of those before the next one: a token stays when its
 * position says so. Each layer's cache then has a length of its own.
 */
function thinImage(layer: number): LayerHook {
  return {
    async cut(l, { positions, roles }) {
      const stride = l < layer ? 1 : l === layer ? 2 : 4;
      const places = imagePlaces(roles);
      const rows = await positions.array();
      const kept = places.map((row, b) => [...row.keys()].filter((i) => rows[b][row[i]] % stride === 0));
      return picking(kept, places[0].length);
    },
  };
}

describeEachBackend('the KV cache', () => {
  tidyEachTest();

  test('token by token, and in two chunks, the logits are those of one full pass', async () => {
    const cases = fc.record({
      random: randoms,
      config: llamaConfigs,
      B: axis(3),
      T: axis(7),
      seed: fc.nat(),
    });
    await fc.assert(
      fc.asyncProperty(cases, fc.nat(), async ({ random, config, B, T, seed }, middle) => {
        const llama = tinyLlama(random, config);
        const input = randomInput(llama, seed, B, T);
        const full = await runInChunks(llama, input, [T]);
        const single = await runInChunks(
          llama,
          input,
          Array.from({ length: T }, (_, t) => t + 1),
        );
        const expected = full.logits[0].arraySync();
        expectNear(tf.concat(single.logits, 1), expected, 'token by token', bound);
        expect(cacheLengths(single.cache)).toEqual(Array(config.num_hidden_layers).fill(T));
        if (T > 1) {
          const half = 1 + (middle % (T - 1));
          const chunks = await runInChunks(llama, input, [half, T]);
          expectNear(tf.concat(chunks.logits, 1), expected, `chunks of ${half} and ${T - half}`, bound);
        }
      }),
      runs,
    );
  });

  test('when image tokens leave before a layer, caches of unlike lengths still give the logits of a recomputation', async () => {
    const layers = tinyLlamaConfig.num_hidden_layers;
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          random: randoms,
          seed: fc.nat(),
          B: axis(3),
          start: fc.nat(3),
          image: axis(8),
          after: axis(4),
        }),
        fc.nat(layers - 1),
        fc.nat(),
        async ({ random, seed, B, start, image, after }, layer, split) => {
          const llama = tinyLlama(random);
          const T = start + image + after;
          const input = randomInput(llama, seed, B, T, start, image);
          const hook = thinImage(layer);
          const prompt = 1 + start + image; // the prompt ends one text token after the picture
          const recompute = async (end: number) => {
            const whole = (await runInChunks(llama, input, [end], hook)).logits[0];
            return tf.slice(whole, [0, whole.shape[1] - 1, 0], [B, 1, 19]).arraySync();
          };
          const steps = Array.from({ length: T - prompt + 1 }, (_, i) => prompt + i);
          const cached = await runInChunks(llama, input, steps, hook);
          for (const [i, logits] of cached.logits.entries()) {
            const last = tf.slice(logits, [0, logits.shape[1] - 1, 0], [B, 1, 19]);
            expectNear(last, await recompute(steps[i]), `after ${steps[i]} tokens`, bound);
          }
          const stay = (stride: number) =>
            T -
            image +
            Array.from({ length: image }, (_, i) => start + i).filter((p) => p % stride === 0).length;
          const lengths = Array.from({ length: layers }, (_, l) =>
            l < layer ? T : stay(l === layer ? 2 : 4),
          );
          expect(cacheLengths(cached.cache)).toEqual(lengths);
          const half = prompt + (split % after); // a cut is made while the prompt is read
          const chunks = await runInChunks(llama, input, half < T ? [half, T] : [T], hook);
          const end = chunks.logits.at(-1)!;
          const last = tf.slice(end, [0, end.shape[1] - 1, 0], [B, 1, 19]);
          expectNear(last, await recompute(T), `chunks of ${half} and ${T - half}`, bound);
          expect(cacheLengths(chunks.cache)).toEqual(lengths);
        },
      ),
      runs,
    );
  });

  test('a batch decodes as its items one by one', async () => {
    await fc.assert(
      fc.asyncProperty(randoms, llamaConfigs, axis(6), fc.nat(), async (random, config, T, seed) => {
        const llama = tinyLlama(random, config);
        const input = randomInput(llama, seed, 3, T);
        const batch = (await runInChunks(llama, input, [T])).logits[0];
        const single: number[][][] = [];
        for (let b = 0; b < 3; b++) {
          const item = {
            hidden: tf.slice(input.hidden, [b, 0, 0], [1, T, config.hidden_size]),
            positions: tf.slice(input.positions, [b, 0], [1, T]),
            roles: [input.roles[b]],
          };
          single.push((await runInChunks(llama, item, [T])).logits[0].arraySync()[0]);
        }
        expectNear(batch, single, 'logits', bound);
      }),
      runs,
    );
  });

  test('a cut sees the attention that it asks for, and is asked for while the prompt is read alone', async () => {
    const llama = tinyLlama(seededRandom(2));
    const seen: [number, number[] | undefined][] = [];
    const hook: LayerHook = {
      needsAttention: (layer) => layer === 2,
      cut: (layer, view) => {
        seen.push([layer, view.attention?.shape]);
        return Promise.resolve(undefined);
      },
    };
    await runInChunks(llama, randomInput(llama, 3, 2, 5), [4, 5], hook);
    expect(seen).toEqual([
      [0, undefined],
      [1, undefined],
      [2, [2, 4, 4, 4]],
    ]);
  });

  test('greedy generation is argmax of a recomputation at each step, and stops before a stop token', async () => {
    for (const seed of [1, 2, 3]) {
      const llama = tinyLlama(seededRandom(seed));
      const prompt = [
        [1, 5, 7],
        [4, 4, 9],
      ];
      const tokens = await generate(llama, embedText(llama, prompt), { maxNewTokens: 6 });
      const sequences = prompt.map((row) => [...row]);
      for (let step = 0; step < 6; step++) {
        const rope = createRope(llama.config, 16);
        const logits = await runLlama(llama, embedText(llama, sequences), { rope, cache: createCache() });
        const next = tf.reshape(tf.argMax(logits, 2), [2]).arraySync() as unknown as number[];
        next.forEach((token, b) => sequences[b].push(token));
      }
      expect(tokens).toEqual(sequences.map((row) => row.slice(3)));
      const stop = tokens[0][3];
      const streamed: number[] = [];
      const stopped = await generate(llama, embedText(llama, prompt), {
        maxNewTokens: 6,
        stopTokens: [stop],
        onToken: (token) => streamed.push(token),
      });
      const before = (row: number[]) => (row.includes(stop) ? row.slice(0, row.indexOf(stop)) : row);
      expect(stopped).toEqual(tokens.map(before));
      expect(streamed).toEqual(stopped[0]);
    }
  });

  test('a prompt that leaves no room for the answer is refused with the numbers', async () => {
    const llama = tinyLlama(seededRandom(1), { ...tinyLlamaConfig, max_position_embeddings: 5 });
    await expect(generate(llama, embedText(llama, [[1, 2, 3]]), { maxNewTokens: 3 })).rejects.toThrow(
      "the prompt takes 3 positions and 3 new tokens are asked for, but the decoder's context is 5",
    );
  });

  test('a sliding window is a limit too: to its last position all see all, and beyond it is refused', async () => {
    const windowed = (sliding_window: number | null, max_position_embeddings = 64) =>
      tinyLlama(seededRandom(1), { ...tinyLlamaConfig, sliding_window, max_position_embeddings });
    const answer = (llama: Llama, maxNewTokens: number) =>
      generate(llama, embedText(llama, [[1, 2, 3]]), { maxNewTokens });
    expect(await answer(windowed(6), 3)).toEqual(await answer(windowed(null), 3));
    const told = "the prompt takes 3 positions and 4 new tokens are asked for, but the decoder's ";
    const refusal = (bound: string) => new UserError(told + bound);
    await expect(answer(windowed(6), 4)).rejects.toThrow(refusal('sliding window is 6'));
    await expect(answer(windowed(6, 6), 4)).rejects.toThrow(refusal('context is 6'));
    await expect(answer(windowed(9, 5), 4)).rejects.toThrow(refusal('context is 5'));
    await expect(answer(windowed(5, 6), 4)).rejects.toThrow(refusal('sliding window is 5'));
  });

  test('only the results are left in memory', async () => {
    const llama = tinyLlama(seededRandom(1));
    const input = embedText(llama, [[1, 2, 3]]);
    const pair = () => ({ keys: tf.zeros([1, 1, 2, 2]), values: tf.zeros([1, 1, 2, 2]) }) as never;
    await expectNewTensors(2, 'updateCache', () => {
      const cache = createCache();
      updateCache(cache, 0, pair());
      updateCache(cache, 0, pair());
    });
    const session = await prefill(llama, input, { maxNewTokens: 9 });
    await expectNewTensors(0, 'decode', () => decode(llama, session, { maxNewTokens: 4 }));
    await expectNewTensors(-9, "session.dispose of 3 layers' caches, RoPE and logits", () =>
      session.dispose(),
    );
    await expectNewTensors(9, 'prefill', () => prefill(llama, input, { maxNewTokens: 1 }));
    await expectNewTensors(0, 'generate', () =>
      generate(llama, input, { maxNewTokens: 4, hook: thinImage(1) }),
    );
    const throwing = (call: number): LayerHook => ({
      needsAttention: () => true,
      cut: () => Promise.resolve(undefined),
      limit: () => {
        if (call-- === 0) throw new Error('a hook that throws');
        return {};
      },
    });
    for (const call of [0, 1, 2, 3, 4, 5, 6]) {
      const options = { maxNewTokens: 4, hook: throwing(call) };
      await expectNewTensors(
        0,
        `generate, call ${call} of its hook throws`,
        () => generate(llama, input, options),
        true,
      );
    }
    const aborted = { maxNewTokens: 4, signal: AbortSignal.abort() };
    await expectNewTensors(0, 'generate, aborted', () => generate(llama, input, aborted), true);
    await expectNewTensors(0, 'generate, refused', () => generate(llama, input, { maxNewTokens: 99 }), true);
    const rope = createRope(llama.config, 3);
    const last = { ...llama, weights: { ...llama.weights, norm: tf.ones([5]) as tf.Tensor1D } };
    await expectNewTensors(
      6,
      'runLlama that throws after its layers',
      () => runLlama(last, input, { rope, cache: createCache() }),
      true,
    ); // the cache is the caller's
  });
});
