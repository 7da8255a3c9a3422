/** VideoLLM-MoD: who goes through a layer, what becomes of the others, and that training does as inference does. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { withWeights } from '../../../src/compress/trained/system.ts';
import {
  keepOfFrames,
  poolCells,
  scoredLayers,
  scoreTokens,
  videoLlmMod,
  withheldOf,
  type ScorerWeights,
} from '../../../src/compress/trained/videollm-mod.ts';
import { cacheLengths, createCache } from '../../../src/decoder/cache.ts';
import { runLlama, type Llama } from '../../../src/decoder/llama.ts';
import { putBack } from '../../../src/decoder/pass.ts';
import { createRope } from '../../../src/decoder/rope.ts';
import { spliceFrames } from '../../../src/decoder/splice-frames.ts';
import type { DecoderState, FrameOf, LayerHook } from '../../../src/decoder/state.ts';
import { UserError } from '../../../src/errors.ts';
import { denseOf, matrixOf } from '../../../src/tensor/token-matrix.ts';
import { packQuestions } from '../../../src/train/pack.ts';
import { answerClips } from '../../../src/train/video-decoder.ts';
import { runPassing } from '../../reference/videollm-mod.ts';
import { describeEachBackend } from '../../support/backends.ts';
import { randomTail, towerBound } from '../../support/hooks.ts';
import { hookOf, sourceOf } from '../../support/methods.ts';
import {
  axis,
  draw,
  expectNear,
  randoms,
  tidyEachTest,
  toArrays,
  type Random,
} from '../../support/random.ts';
import { randomWeights, tinyLlama, tinyLlamaConfig, tinyLlava } from '../../support/tiny.ts';

/** B clips of F frames of n = g² tokens, [text | frames | text], in a decoder of L layers. */
interface ClipCase {
  random: Random;
  llama: Llama;
  input: DecoderState & { frames: FrameOf[][] };
  B: number;
  F: number;
  n: number;
  U: number;
}

const clipCases: fc.Arbitrary<ClipCase> = fc
  .record({
    random: randoms,
    B: axis(2),
    F: axis(3),
    g: axis(3),
    before: fc.nat(2),
    after: axis(3),
    L: fc.integer({ min: 2, max: 4 }),
    u: fc.nat(),
  })
  .map(({ random, B, F, g, before, after, L, u }) => {
    const llama = tinyLlama(random, { ...tinyLlamaConfig, num_hidden_layers: L });
    const n = g ** 2;
    const ids = (count: number) => Array.from({ length: count }, () => Math.floor(random() * 9));
    const prompts = Array.from({ length: B }, () => ({
      before: ids(before),
      between: Array.from({ length: F - 1 }, () => []),
      after: ids(after),
    }));
    const visual = tf.tensor3d(draw(random, [B * F, n, llama.config.hidden_size]));
    const input = spliceFrames(llama, prompts, visual);
    return { random, llama, input: { ...input, frames: input.frames! }, B, F, n, U: 1 + (u % n) };
  });

const modelOf = ({ llama }: ClipCase) => ({ ...tinyLlava(() => 0.5).config, text: llama.config });

const scorersOf = (drawn: ClipCase): ScorerWeights =>
  randomWeights(drawn.random, videoLlmMod.table(modelOf(drawn))).scorers;

/** The hook that runs with one patch a token, so that a frame has P = n. */
const hook = (drawn: ClipCase, scorers: ScorerWeights, U: number, gate: 'sigmoid' | 'one'): LayerHook =>
  hookOf(
    withWeights(videoLlmMod, { weights: { scorers }, model: modelOf(drawn) }),
    sourceOf({ patches: drawn.n, decoderLayers: drawn.llama.config.num_hidden_layers, frames: drawn.F }),
    U,
    { pool: 1, gate },
  );

/** Logits of every token, and every layer's cache length. */
async function run(llama: Llama, input: DecoderState, through?: LayerHook) {
  const cache = createCache();
  const rope = createRope(llama.config, 64);
  const logits = await runLlama(llama, input, { rope, cache, hook: through, allLogits: true });
  return { logits, cache, rope, lengths: cacheLengths(cache) };
}

describeEachBackend('videollm-mod', () => {
  tidyEachTest();

  test('with U = P and the gate 1 it is the full model, bit for bit', async () => {
    await fc.assert(
      fc.asyncProperty(clipCases, async (drawn) => {
        const full = await run(drawn.llama, drawn.input);
        const whole = await run(drawn.llama, drawn.input, hook(drawn, scorersOf(drawn), drawn.n, 'one'));
        expect(whole.lengths).toEqual(full.lengths);
        expect(whole.logits.arraySync()).toEqual(full.logits.arraySync());
      }),
      { numRuns: 12 },
    );
  });

  test('is what the formula says, token by token, with and without the gate', async () => {
    await fc.assert(
      fc.asyncProperty(
        clipCases,
        fc.constantFrom('sigmoid' as const, 'one' as const),
        async (drawn, gate) => {
          const { llama, input, U, n } = drawn;
          const scorers = scorersOf(drawn);
          const twins = new Map(
            Object.entries(scorers).map(([l, { weight, bias }]) => [
              Number(l),
              { w: (weight as tf.Tensor2D).arraySync().map(([w]) => w), b: bias!.arraySync()[0] },
            ]),
          );
          let clear = true; // no choice that rounding could move
          const watch = (sorted: number[], k: number) => {
            if (k < sorted.length) clear &&= sorted[k - 1] - sorted[k] > 1e-5;
          };
          const kept = (count: number) => Math.ceil((count * U) / n);
          const rows = input.hidden.arraySync();
          const expected = rows.map((embeddings, b) =>
            runPassing(toArrays(llama.weights), embeddings, input.frames[b], llama.config, twins, kept, {
              gated: gate === 'sigmoid',
              watch,
            }),
          );
          fc.pre(clear);
          const { logits, lengths } = await run(llama, input, hook(drawn, scorers, U, gate));
          expect(lengths).toEqual(expected[0].through.map((places) => places.length));
          expectNear(
            logits,
            expected.map((one) => one.logits),
            'logits',
            towerBound,
          );
        },
      ),
      { numRuns: 25 },
    );
  });

  test('in a scored layer ⌈n·U/P⌉ of each frame and all text hold keys, in the others everything', async () => {
    await fc.assert(
      fc.asyncProperty(clipCases, async (drawn) => {
        const { llama, input, F, n, U } = drawn;
        const T = input.positions.shape[1];
        const { lengths } = await run(llama, input, hook(drawn, scorersOf(drawn), U, 'sigmoid'));
        const scored = scoredLayers(llama.config.num_hidden_layers);
        expect(scored.length).toBeGreaterThan(0);
        expect(scored).not.toContain(llama.config.num_hidden_layers - 1);
        expect(lengths).toEqual(lengths.map((_, l) => (scored.includes(l) ? T - F * (n - U) : T)));
      }),
      { numRuns: 12 },
    );
  });

  test('each frame keeps its best, of equals the first, and all text', () => {
    const frames = [[undefined, 0, 0, 0, 1, 1, 1, undefined]];
    const keep = (scores: number[], U: number) => keepOfFrames([Float32Array.from(scores)], frames, U, 3);
    expect(keep([0, 1, 3, 2, 9, 8, 7, 0], 1)).toEqual([[0, 2, 4, 7]]); // not the best of all
    expect(keep([0, 1, 3, 2, 9, 8, 7, 0], 2)).toEqual([[0, 2, 3, 4, 5, 7]]);
    expect(keep([5, 1, 1, 1, 2, 2, 2, 5], 1)).toEqual([[0, 1, 4, 7]]);
    expect(keep([0, 0, 0, 0, 0, 0, 0, 0], 3)).toEqual([[0, 1, 2, 3, 4, 5, 6, 7]]);
    expect(keepOfFrames([new Float32Array(8)], frames, 1, 6)[0]).toHaveLength(4); // ⌈3/6⌉ of each
  });

  test('who passes by is there again for the next layer, unchanged to the bit; the gate is of frames alone', () => {
    const x = tf.tensor3d([[[1], [2], [3], [4]]]);
    const y = tf.tensor3d([[[10], [40]]]);
    const places = [[0, 3]];
    expect(putBack(x, y, { places }).arraySync()).toEqual([[[10], [2], [3], [40]]]);
    const scores = tf.tensor2d([[5, 0, 0, 0]]);
    const withheld = withheldOf(scores, places, [[undefined, 0, 0, 0]]);
    expect(withheld.arraySync()).toEqual([[[0], [0.5]]]); // text whole, however it scores; σ(0)
    expect(putBack(x, y, { places, withheld }).arraySync()).toEqual([[[10], [2], [3], [22]]]);
  });

  test('an answer goes through every layer: token by token it comes as all at once', async () => {
    await fc.assert(
      fc.asyncProperty(clipCases, async (drawn) => {
        const { llama, input, B, U } = drawn;
        const T = input.positions.shape[1];
        const making = () => hook(drawn, scorers, U, 'sigmoid');
        const scorers = scorersOf(drawn);
        const next = randomTail(llama, 3, B, T, 1);
        const { cache, rope, lengths } = await run(llama, input, making());
        const step = await runLlama(llama, next, { rope, cache, hook: making() });
        const joined: DecoderState = {
          hidden: tf.concat([input.hidden, next.hidden], 1),
          positions: tf.concat([input.positions, next.positions], 1),
          roles: input.roles.map((row, b) => [...row, ...next.roles[b]]),
          frames: input.frames.map((row) => [...row, undefined]),
        };
        const atOnce = await run(llama, joined, making());
        expect(cacheLengths(cache)).toEqual(lengths.map((length) => length + 1));
        const [, , V] = step.shape;
        expectNear(step, tf.slice(atOnce.logits, [0, T, 0], [B, 1, V]).arraySync(), 'logits', towerBound);
      }),
      { numRuns: 12 },
    );
  });

  test('a frame’s tokens are the means of pool × pool patches', () => {
    const cells = poolCells(sourceOf({ patches: 16 }), 2);
    const W = denseOf(matrixOf([cells], 16)).arraySync()[0];
    expect(W).toHaveLength(4);
    expect(W[1].flatMap((weight, p) => (weight > 0 ? [p] : []))).toEqual([2, 3, 6, 7]);
    expect(W.flat().filter((weight) => weight !== 0 && weight !== 0.25)).toEqual([]);
    expect(() => poolCells(sourceOf({ patches: 16 }), 3)).toThrow(
      new UserError('videollm-mod: pool=3 does not divide the grid of 4 × 4 patches'),
    );
    expect(() => poolCells(sourceOf({ patches: 16, grid: undefined }), 2)).toThrow(UserError);
  });

  test('training answers packed questions as inference answers each alone', async () => {
    await fc.assert(
      fc.asyncProperty(clipCases, async (drawn) => {
        const { llama, B, F, n, U, random } = drawn;
        const E = llama.config.hidden_size;
        const scorers = scorersOf(drawn);
        const visual = tf.tensor3d(draw(random, [B, F * n, E]));
        const before = [1, 4];
        const asked = [{ ask: [5, 6], answer: [7, 2] }, { ask: [8], answer: [3, 2] }]; // prettier-ignore
        const packed = packQuestions(Array.from({ length: B }, () => asked), before.length + F * n, 0); // prettier-ignore
        const depths = { scorers, tokens: n, budget: U, patches: n };
        const { answers, cells } = answerClips(llama, visual, { before, packed }, depths);
        expect(cells.shape).toEqual([B * F * n, llama.config.vocab_size]);
        const rows = answers.arraySync();
        for (const [q, { ask, answer }] of asked.entries()) {
          const prompts = Array.from({ length: B }, () => ({
            before,
            between: Array.from({ length: F - 1 }, () => []),
            after: [...ask, answer[0]],
          }));
          const frames = tf.reshape<tf.Rank.R3>(visual, [B * F, n, E]);
          const input = spliceFrames(llama, prompts, frames);
          const { logits } = await run(llama, input, hook(drawn, scorers, U, 'sigmoid'));
          const [, T, V] = logits.shape;
          const expected = tf.slice(logits, [0, T - 2, 0], [B, 2, V]).arraySync();
          for (let b = 0; b < B; b++) {
            const at = packed.firsts[b][q];
            expectNear(
              tf.tensor2d(rows.slice(at, at + 2)),
              expected[b],
              `question ${q} of clip ${b}`,
              towerBound,
            );
          }
        }
      }),
      { numRuns: 8 },
    );
  });

  test('a scorer’s score is w·x + b', () => {
    const scorer = { weight: tf.tensor2d([[2], [-1]]), bias: tf.tensor1d([0.5]) };
    expect(scoreTokens(scorer, tf.tensor3d([[[1, 3], [4, 0]]])).arraySync()).toEqual([[-0.5, 8.5]]); // prettier-ignore
  });
});
