/** Runs of the decoder with a method between its layers, for the tests of those methods. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect } from 'vitest';
import { attendFromLastToken } from '../../src/decoder/block.ts';
import { cacheLengths, createCache } from '../../src/decoder/cache.ts';
import { generate } from '../../src/decoder/generate.ts';
import { runLlama, type Llama } from '../../src/decoder/llama.ts';
import { createRope, ropeAt } from '../../src/decoder/rope.ts';
import type { DecoderState, LayerHook, Role } from '../../src/decoder/state.ts';
import { runCut, type Cut, type Limit, type Watch } from '../reference/decoder-methods.ts';
import type { Source } from '../../src/compress/method.ts';
import { sourceOf as anySource } from './methods.ts';
import { axis, draw, expectNear, randoms, seededRandom, toArrays, type Random } from './random.ts';
import { tinyLlama, tinyLlamaConfig } from './tiny.ts';

/** A decoder of L layers and a batch of prompts, [before | picture | after], the picture at places of their own. */
export interface HookCase {
  llama: Llama;
  input: DecoderState;
  B: number;
  T: number;
  L: number;
  P: number;
  U: number;
  random: Random;
}

export const hookCases = ({ layers = [2, 5], image = 9 } = {}): fc.Arbitrary<HookCase> =>
  fc
    .record({
      random: randoms,
      B: axis(3),
      before: axis(3),
      P: axis(image),
      after: axis(4),
      n: fc.nat(),
      L: fc.integer({ min: layers[0], max: layers[1] }),
    })
    .map(({ random, B, before, P, after, n, L }) => {
      const llama = tinyLlama(random, { ...tinyLlamaConfig, num_hidden_layers: L });
      const input = randomPrompt(llama, random, B, before, P, after);
      return { llama, input, B, T: before + P + after, L, P, U: 1 + (n % P), random };
    });

/** The picture begins after `before` tokens in even items, one token earlier in odd ones. */
export function randomPrompt(
  llama: Llama,
  random: Random,
  B: number,
  before: number,
  P: number,
  after: number,
): DecoderState {
  const T = before + P + after;
  const role = (b: number, t: number): Role => {
    const start = before - (b % 2);
    return t >= start && t < start + P ? 'image' : 'text';
  };
  return {
    hidden: tf.tensor3d(draw(random, [B, T, llama.config.hidden_size])),
    positions: tf.tensor2d(
      Array.from({ length: B }, () => [...Array(T).keys()]),
      [B, T],
      'int32',
    ),
    roles: Array.from({ length: B }, (_, b) => Array.from({ length: T }, (_, t) => role(b, t))),
  };
}

export const sourceOf = ({ L, P }: { L: number; P: number }): Source =>
  anySource({ layers: 4, decoderLayers: L, patches: P, grid: Math.sqrt(P) });

/** What a prefill with a hook came to. */
export interface HookedRun {
  logits: tf.Tensor3D; // [B, T', V] of the tokens that the last layer holds
  /** Of every layer, the positions [B][T'] and roles of the tokens that it ran on. */
  positions: number[][][];
  roles: Role[][][];
  lengths: number[];
}

export async function runHooked(llama: Llama, input: DecoderState, hook?: LayerHook): Promise<HookedRun> {
  const rope = createRope(llama.config, 64);
  const cache = createCache();
  const run: Omit<HookedRun, 'logits' | 'lengths'> = { positions: [], roles: [] };
  const watching: LayerHook = {
    ...hook,
    limit(l, state, past, sizes) {
      run.positions.push(state.positions.arraySync());
      run.roles.push(state.roles);
      return hook?.limit?.(l, state, past, sizes) ?? {};
    },
  };
  const logits = await runLlama(llama, input, { rope, cache, hook: watching, allLogits: true });
  return { ...run, logits, lengths: cacheLengths(cache) };
}

/** Text tokens after a prompt, at the positions that follow it. */
export function randomTail(llama: Llama, seed: number, B: number, start: number, n: number): DecoderState {
  return {
    hidden: tf.tensor3d(draw(seededRandom(seed), [B, n, llama.config.hidden_size])),
    positions: tf.tensor2d(
      Array.from({ length: B }, () => Array.from({ length: n }, (_, i) => start + i)),
      [B, n],
      'int32',
    ),
    roles: Array.from({ length: B }, () => Array.from({ length: n }, () => 'text' as const)),
  };
}

/** The first or the other tokens of a state; a causal prompt's attention is a corner of the whole one. */
function cut(state: DecoderState, from: number, to: number): DecoderState {
  const { hidden, positions, roles, attention } = state;
  const [B, , E] = hidden.shape;
  const part: DecoderState = {
    hidden: tf.slice(hidden, [0, from, 0], [B, to - from, E]),
    positions: tf.slice(positions, [0, from], [B, to - from]),
    roles: roles.map((row) => row.slice(from, to)),
  };
  if (attention) {
    const [, H] = attention.shape;
    part.attention = tf.slice(attention, [0, 0, from, from], [B, H, to - from, to - from]);
  }
  return part;
}

const join = (a: DecoderState, b: DecoderState): DecoderState => ({
  hidden: tf.concat([a.hidden, b.hidden], 1),
  positions: tf.concat([a.positions, b.positions], 1),
  roles: a.roles.map((row, i) => [...row, ...b.roles[i]]),
});

/** The hook as prefill had it, for a recomputation without a cache: it sees all but the last `tail` tokens. */
export function onPrompt(llama: Llama, hook: LayerHook, tail: number): LayerHook {
  return {
    ...hook,
    async cut(l, view) {
      const T = view.hidden.shape[1];
      const prompt = cut(view, 0, T - tail);
      const rope = createRope(llama.config, 64);
      const attendFromLast = () =>
        attendFromLastToken(
          llama.weights.layers[l],
          prompt.hidden,
          llama.config,
          ropeAt(rope, prompt.positions),
        );
      return hook.cut?.(l, { ...prompt, attendFromLast });
    },
  };
}

/**
 * Reads a prompt and then `tail` tokens one by one through the caches; and all again in one pass without a cache,
 * after each of them.
 * @returns the last token's logits of every step, [steps][B][V], both ways, and each layer's tokens at the end
 */
export async function decodeBothWays(
  llama: Llama,
  input: DecoderState,
  hook: LayerHook,
  tail: number,
): Promise<{ cached: tf.Tensor; recomputed: number[][][]; lengths: number[] }> {
  const [B, T] = input.positions.shape;
  const following = randomTail(llama, 5, B, T, tail);
  const rope = createRope(llama.config, 64);
  const cache = createCache();
  const steps = [await runLlama(llama, input, { rope, cache, hook })];
  for (let i = 0; i < tail; i++) {
    steps.push(await runLlama(llama, cut(following, i, i + 1), { rope, cache, hook }));
  }
  const recomputed: number[][][] = [];
  for (let i = 1; i <= tail; i++) {
    const whole = join(input, cut(following, 0, i));
    const logits = await runLlama(llama, whole, {
      rope,
      cache: createCache(),
      hook: onPrompt(llama, hook, i),
    });
    recomputed.push(logits.arraySync().map(([row]) => row));
  }
  const cached = tf.stack(steps.slice(1).map((logits) => tf.squeeze(logits, [1])));
  return { cached, recomputed, lengths: cacheLengths(cache) };
}

/** Up to 5 blocks after one another, each with its own rounding. */
export const towerBound = 5e-5;

/** Holds a method's run against its twin's, item by item: tokens of every layer, and logits. */
export async function expectTwin(
  { llama, input }: HookCase,
  hook: LayerHook,
  cutOf: (watch: Watch, picture: number) => Cut,
  limit?: Limit,
): Promise<void> {
  let clear = true; // no cut that rounding could move
  const watch: Watch = (scores, U) => {
    const sorted = [...scores].sort((a, b) => b - a);
    if (U < scores.length && U > 0) clear &&= sorted[U - 1] - sorted[U] > 1e-5;
  };
  const weights = toArrays(llama.weights);
  const hidden = input.hidden.arraySync();
  const positions = input.positions.arraySync();
  const twins = hidden.map((rows, b) => {
    const tokens = rows.map((row, t) => ({
      hidden: row,
      position: positions[b][t],
      role: input.roles[b][t],
    }));
    return runCut(weights, tokens, llama.config, cutOf(watch, b), limit);
  });
  fc.pre(clear);
  const run = await runHooked(llama, input, hook);
  for (const l of run.positions.keys()) {
    expect(run.positions[l], `positions in layer ${l}`).toEqual(
      twins.map(({ layers }) => layers[l].map(({ position }) => position)),
    );
    expect(run.roles[l]).toEqual(twins.map(({ layers }) => layers[l].map(({ role }) => role)));
  }
  expectNear(
    run.logits,
    twins.map(({ logits }) => logits),
    'logits',
    towerBound,
  );
}

/** A prefill and two tokens, with everything disposed of. */
export async function decodeAndDrop({ llama, input }: HookCase, hook: LayerHook): Promise<void> {
  const nextPosition = input.positions.shape[1];
  await generate(llama, { ...input, nextPosition }, { maxNewTokens: 3, hook });
}
