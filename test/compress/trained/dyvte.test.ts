/** DyVTE's gates: what they see, when they open, and what they learn from. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  dyvte,
  gateWidth,
  readText,
  runGate,
  type DyvteWeights,
  type Gate,
} from '../../../src/compress/trained/dyvte.ts';
import { withWeights } from '../../../src/compress/trained/system.ts';
import { withdrawBefore } from '../../../src/compress/vtw.ts';
import type { DecoderState } from '../../../src/decoder/state.ts';
import { UserError } from '../../../src/errors.ts';
import { packQuestions, type AskedTokens, type Prompted } from '../../../src/train/pack.ts';
import { openPacked, readPacked, runPacked } from '../../../src/train/packed-decoder.ts';
import { compareExit, readQuestions } from '../../../src/train/systems/dyvte.ts';
import type { Question } from '../../../src/world/questions.ts';
import { erf } from '../../reference/ops.ts';
import { describeEachBackend } from '../../support/backends.ts';
import { hookCases, randomPrompt, runHooked, sourceOf, type HookCase } from '../../support/hooks.ts';
import { hookOf } from '../../support/methods.ts';
import { draw, expectNear, seededRandom, tidyEachTest, type Random } from '../../support/random.ts';
import { randomWeights, tinyLlama, tinyLlava } from '../../support/tiny.ts';

const modelOf = ({ llama }: Pick<HookCase, 'llama'>) => {
  const { config } = tinyLlava(seededRandom(0));
  return { ...config, text: llama.config };
};

const hook = (drawn: HookCase, weights: DyvteWeights, margin = 0) =>
  hookOf(withWeights(dyvte, { weights, model: modelOf(drawn) }), sourceOf(drawn), drawn.U, { margin });

/** Gates of zeros say 0 and 0, which is no exit. */
const shut = ({ llama, L }: HookCase): DyvteWeights => {
  const { hidden_size: E } = llama.config;
  const gate = (): Gate => ({
    w1: { weight: tf.zeros([2 * E, gateWidth(E)]) },
    w2: { weight: tf.zeros([gateWidth(E), 2]) },
  });
  return { gates: Array.from({ length: L }, gate) };
};

/** What each gate sees of the uncut prompt, x of layers 0 .. L − 2: [1, 2E] each. */
async function seenBy(drawn: HookCase): Promise<tf.Tensor2D[]> {
  const seen: tf.Tensor2D[] = [];
  await runHooked(drawn.llama, drawn.input, {
    cut(l, view) {
      if (l > 0) seen.push(readText(view));
      return undefined;
    },
  });
  return seen;
}

/** A gate that opens for x: W₂ = [−g | g] of its inner neurons g. */
function opening(random: Random, x: tf.Tensor2D): Gate {
  const [, width] = x.shape;
  const M = gateWidth(width / 2);
  const w1 = tf.tensor2d(draw(random, [width, M]));
  const g = tf.reshape(runGate({ w1: { weight: w1 }, w2: { weight: tf.eye(M) } }, x), [M, 1]);
  return { w1: { weight: w1 }, w2: { weight: tf.concat([tf.neg(g), g], 1) as tf.Tensor2D } };
}

/** One prompt at a time. */
const single = fc
  .tuple(hookCases({ layers: [2, 5] }), fc.integer({ min: 1, max: 4 }))
  .map(([drawn, after]): HookCase => {
    const input = randomPrompt(drawn.llama, drawn.random, 1, 2, drawn.P, after);
    return { ...drawn, B: 1, T: 2 + drawn.P + after, input };
  });

describeEachBackend('dyvte', () => {
  tidyEachTest();

  test('with all gates shut it is the uncut model, bit for bit', async () => {
    await fc.assert(
      fc.asyncProperty(single, async (drawn) => {
        const [full, gated] = [
          await runHooked(drawn.llama, drawn.input),
          await runHooked(drawn.llama, drawn.input, hook(drawn, shut(drawn))),
        ];
        expect(gated.lengths).toEqual(full.lengths);
        expect(gated.logits.arraySync()).toEqual(full.logits.arraySync());
      }),
      { numRuns: 10 },
    );
  });

  test('with gate l open alone it is VTW with k = l + 1, bit for bit', async () => {
    await fc.assert(
      fc.asyncProperty(single, fc.nat(), async (drawn, n) => {
        const l = n % (drawn.L - 1);
        const x = (await seenBy(drawn))[l];
        const { gates } = shut(drawn);
        const weights = { gates: gates.with(l, opening(drawn.random, x)) };
        const gated = await runHooked(drawn.llama, drawn.input, hook(drawn, weights));
        const withdrawn = await runHooked(drawn.llama, drawn.input, withdrawBefore(l + 1));
        expect(gated.lengths).toEqual(withdrawn.lengths);
        expect(gated.lengths.at(-1)).toBe(drawn.T - drawn.P);
        expect(gated.logits.arraySync()).toEqual(withdrawn.logits.arraySync());
        const later = await runHooked(drawn.llama, drawn.input, hook(drawn, weights, 1e6));
        expect(new Set(later.lengths)).toEqual(new Set([drawn.T])); // a margin that none reaches
      }),
      { numRuns: 10 },
    );
  });

  test('a gate is W₂·gelu(W₁·x) of the text’s mean without the last token, and the last token', async () => {
    await fc.assert(
      fc.asyncProperty(single, async (drawn) => {
        const { random, input, T, llama } = drawn;
        const E = llama.config.hidden_size;
        const gate = randomWeights(random, dyvte.table(modelOf(drawn))).gates[0];
        const [w1, w2] = [gate.w1, gate.w2].map(({ weight }) => (weight as tf.Tensor2D).arraySync());
        const rows = input.hidden.arraySync()[0];
        const from = 1 + input.roles[0].lastIndexOf('image');
        const texts = rows.slice(from, T - 1);
        const mean = rows[T - 1].map((last, e) =>
          texts.length > 0 ? texts.reduce((sum, row) => sum + row[e], 0) / texts.length : last,
        );
        const x = [...mean, ...rows[T - 1]];
        const times = (vector: number[], matrix: number[][]) =>
          matrix[0].map((_, j) => vector.reduce((sum, value, i) => sum + value * matrix[i][j], 0));
        const gelu = (value: number) => 0.5 * value * (1 + erf(value / Math.SQRT2));
        const expected = times(times(x, w1).map(gelu), w2);
        expect(x).toHaveLength(2 * E);
        expectNear(runGate(gate, readText(input)), [expected], 'z');
        return Promise.resolve();
      }),
      { numRuns: 20 },
    );
  });

  test('one prompt at a time', async () => {
    const [drawn] = fc.sample(hookCases({ layers: [3, 3] }), { numRuns: 1, seed: 1 });
    const input = randomPrompt(drawn.llama, drawn.random, 2, 2, 3, 2);
    await expect(runHooked(drawn.llama, input, hook(drawn, shut(drawn)))).rejects.toThrow(
      new UserError('dyvte: a gate decides for one prompt at a time, not for 2'),
    );
  });

  test('learns of packed questions what each is alone: features, and the logits after its exit', async () => {
    await fc.assert(
      fc.asyncProperty(fc.gen(), fc.nat(), async (gen, n) => {
        const random = seededRandom(n);
        const llama = tinyLlama(random);
        const { vocab_size: V, hidden_size: E, num_hidden_layers: L } = llama.config;
        const token = () => Math.floor(random() * V);
        const tokens = (count: number) => Array.from({ length: count }, token);
        const [B, Q, P] = [2, 2, 3];
        const l = gen(fc.nat, { max: L - 2 });
        const items: AskedTokens[][] = Array.from({ length: B }, () => [
          ...Array.from({ length: Q }, () => ({
            ask: tokens(gen(fc.integer, { min: 1, max: 4 })),
            answer: tokens(2),
          })),
          { ask: tokens(2), answer: tokens(3) }, // the caption
        ]);
        const before = tokens(2);
        const none = Array.from({ length: B }, () => Array.from({ length: Q }, () => ({}) as Question));
        const prompted: Prompted = { before, packed: packQuestions(items, 2 + P, 0), questions: none };
        const visual = tf.tensor3d(draw(random, [B, P, E]));
        const state = runPacked(llama, openPacked(llama, visual, prompted), 0, l + 1);
        const features = readQuestions(state, prompted).arraySync();
        const { labels } = compareExit(llama, state, prompted, l + 1);
        expect(labels).toHaveLength(B * Q);

        const exits: number[][] = [];
        for (const [b, asked] of items.entries()) {
          for (const { ask } of asked.slice(0, Q)) {
            const alone = { before, packed: packQuestions([[{ ask, answer: [0, 0] }]], 2 + P, 0) };
            const picture = tf.slice(visual, [b, 0, 0], [1, P, E]);
            const opened = openPacked(llama, picture, alone);
            const T = 2 + P + ask.length;
            const hidden = tf.slice(opened.hidden, [0, 0, 0], [1, T, E]);
            const input: DecoderState = {
              hidden,
              positions: tf.tensor2d([[...Array(T).keys()]], undefined, 'int32'),
              roles: [[...Array(T).keys()].map((t) => (t >= 2 && t < 2 + P ? 'image' : 'text'))],
            };
            const row = exits.length;
            await runHooked(llama, input, {
              cut(at, view) {
                if (at === l + 1) expectNear(readText(view), [features[row]], 'x');
                return undefined;
              },
            });
            const { logits } = await runHooked(llama, input, withdrawBefore(l + 1));
            exits.push(logits.arraySync()[0].at(-1)!);
          }
        }
        const said = compareExit(llama, state, prompted, l + 1);
        const targets = items.flatMap((asked) => asked.slice(0, Q).map(({ answer }) => answer[0]));
        const best = exits.map((row) => row.indexOf(Math.max(...row)));
        expect(said.right.map(({ exit }) => exit)).toEqual(best.map((token, m) => token === targets[m]));
      }),
      { numRuns: 8 },
    );
  });

  test('a picture that no column attends to gets label 1, at every layer', () => {
    const random = seededRandom(4);
    const llama = tinyLlama(random);
    const items: AskedTokens[][] = [
      [
        { ask: [1, 2, 3], answer: [4, 5] },
        { ask: [6], answer: [7, 8] },
      ],
    ];
    const questions = [[{} as Question]];
    const prompted: Prompted = { before: [9], packed: packQuestions(items, 4, 0), questions };
    const opened = openPacked(llama, tf.tensor3d(draw(random, [1, 3, llama.config.hidden_size])), prompted);
    const mask = opened.mask
      .arraySync()
      .map((row) => row.map((value, t) => (t >= 1 && t < 4 ? -1e9 : value)));
    for (let l = 0; l < llama.config.num_hidden_layers; l++) {
      const state = { ...runPacked(llama, opened, 0, l), mask: tf.tensor2d(mask) };
      expect(compareExit(llama, state, prompted, l).labels).toEqual([1]);
      expect(readPacked(llama, state, prompted.packed).shape[0]).toBe(4);
    }
  });
});
