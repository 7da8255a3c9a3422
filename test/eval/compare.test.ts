/** Methods beside each other on tiny models made in memory. */
import * as tf from '@tensorflow/tfjs-core';
import { free } from '../../src/tensor/scope.ts';
import { expect, test } from 'vitest';
import type { Method } from '../../src/compress/method.ts';
import {
  compareMethods,
  wasAnswered,
  wasRefused,
  type Compared,
  type Refused,
} from '../../src/eval/run/compare.ts';
import { answerProbability } from '../../src/eval/run/probability.ts';
import { parseVariants, type Variant } from '../../src/eval/run/variant.ts';
import { createCache } from '../../src/decoder/cache.ts';
import { runLlama } from '../../src/decoder/llama.ts';
import { createRope } from '../../src/decoder/rope.ts';
import { embedText } from '../../src/decoder/splice.ts';
import { imagePlaces } from '../../src/decoder/cut.ts';
import type { LayerHook } from '../../src/decoder/state.ts';
import { describeEachBackend } from '../support/backends.ts';
import { matrixOf, meanOf, picking, type TokenMatrix } from '../../src/tensor/token-matrix.ts';
import { draw, expectNewTensors, seededRandom, tidyEachTest } from '../support/random.ts';
import { tinyLlama, tinyLlava } from '../support/tiny.ts';

const P = 16;
const prompt = { before: [1, 5], after: [7, 3, 4] };
const question = (seed: number, more = {}) => ({
  pixels: tf.tensor4d(draw(seededRandom(seed), [1, 9, 9, 3])),
  prompt,
  budget: 5,
  maxNewTokens: 4,
  stopTokens: [2],
  ...more,
});

const cutAt = (layer: number, W: (tokens: number) => TokenMatrix): LayerHook => ({
  cut: (l, { roles }) => Promise.resolve(l === layer ? W(imagePlaces(roles)[0].length) : undefined),
});

/** From layer 1 on, patches 3 and 8 only. */
const keepTwo = cutAt(1, (tokens) => picking([[3, 8]], tokens));

/** From layer 2 on, one token for all the patches that are there. */
const mergeAll = cutAt(2, (tokens) => matrixOf([[meanOf([...Array(tokens).keys()])]], tokens));

const asMethod = (name: string, hook: LayerHook): Variant => {
  const method: Method = {
    ...{ name, paper: 'none', summary: '', defaults: {}, help: {}, stages: ['between'] },
    prepare: () => ({ between: () => hook }),
  };
  return { method, methodOptions: {}, positions: 'contiguous', name, series: name };
};

const done = (rows: (Compared | Refused)[]) => rows.filter(wasAnswered);

describeEachBackend('a comparison', () => {
  tidyEachTest();

  test("an answer's probability is the product that one uncached pass over prompt and answer gives", async () => {
    const llama = tinyLlama(seededRandom(3));
    const [before, answer, stop] = [
      [1, 5, 9, 4],
      [7, 3, 11],
      [2, 6],
    ];
    const all = [...before, ...answer];
    const input = embedText(llama, [all]);
    const cache = createCache();
    const logits = await runLlama(llama, input, {
      rope: createRope(llama.config, 9),
      cache,
      allLogits: true,
    });
    const chances = (await tf.softmax(logits).array())[0]; // [T, V]
    free(cache);
    let cut = 1;
    for (const [i, token] of answer.entries()) cut *= chances[before.length - 1 + i][token];
    const whole = cut * (chances[all.length - 1][2] + chances[all.length - 1][6]);
    const asked = (stopTokens: number[]) =>
      answerProbability(llama, embedText(llama, [before]), { tokens: answer, stopTokens });
    expect((await asked([])) / cut).toBeCloseTo(1, 4);
    expect((await asked(stop)) / whole).toBeCloseTo(1, 4);
  });

  test('an end at once and every first token that is none: their probabilities sum to 1', async () => {
    const llama = tinyLlama(seededRandom(4));
    const read = embedText(llama, [[1, 8, 3]]);
    const V = llama.config.vocab_size;
    let sum = await answerProbability(llama, read, { tokens: [], stopTokens: [2] });
    for (let token = 0; token < V; token++) {
      if (token !== 2) sum += await answerProbability(llama, read, { tokens: [token], stopTokens: [] });
    }
    expect(sum).toBeCloseTo(1, 5);
  });

  test('patches are followed by what they are, wherever they stand; merged ones are new', async () => {
    const model = tinyLlava(seededRandom(5));
    const variants = [asMethod('two', keepTwo), asMethod('one', mergeAll)];
    const rows = done(await compareMethods(model, question(6), variants));
    expect(rows.map(({ kept, made, groups }) => [kept, made, groups])).toEqual([
      [[...Array(P).keys()], 0, undefined],
      [[3, 8], 0, undefined],
      [[], 1, Array(P).fill(0)],
    ]);
    expect(rows.map(({ layerTokens }) => layerTokens)).toEqual([
      [21, 21, 21],
      [21, 7, 7],
      [21, 21, 6],
    ]);
  });

  test('of merged patches each belongs to the token that it is the largest part of', async () => {
    const model = tinyLlava(seededRandom(12));
    const names =
      'pooling:pattern=raster,llavolta:layer=1,tome,visionzip:contextual=1,sparsevlm:recycle=0.9,downsample';
    const rows = done(await compareMethods(model, question(13, { budget: 4 }), parseVariants(names)));
    const [, pooled, llavolta, tome, zip, sparse, small] = rows;
    const runs = [...Array(P).keys()].map((patch) => Math.floor(patch / 4));
    expect([pooled.groups, llavolta.groups]).toEqual([runs, runs]);
    expect([small.made, small.groups]).toEqual([4, [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]]); // by area
    expect([tome, zip].map(({ kept, made }) => kept.length + made)).toEqual([4, 4]);
    expect([...new Set(tome.groups)].sort()).toEqual([0, 1, 2, 3]);
    expect([...new Set(zip.groups)].sort()).toEqual([1, 2, 3]); // 0 is [CLS]
    expect(sparse.kept.length + sparse.made).toBe(4);
    expect(sparse.made).toBeGreaterThan(0);
  });

  test('original positions are compared as any others', async () => {
    const model = tinyLlava(seededRandom(7));
    const variants = parseVariants('vtc-cls,vtc-cls:positions=original');
    const [, contiguous, original] = done(await compareMethods(model, question(6), variants));
    expect(original.kept).toEqual(contiguous.kept);
    expect(original.probability).not.toBe(contiguous.probability);
  });

  test('a method that changes nothing is as sure of the answer as the model without it', async () => {
    const model = tinyLlava(seededRandom(8));
    const asked = question(9, { budget: P });
    const rows = done(await compareMethods(model, asked, parseVariants('vtc-cls,none,uniform')));
    expect(rows.map(({ variant }) => variant.name)).toEqual(['none', 'vtc-cls', 'uniform']);
    for (const { tokens, probability, kept } of rows) {
      expect(tokens).toEqual(rows[0].tokens);
      expect(probability).toBe(rows[0].probability);
      expect(kept).toHaveLength(P);
    }
    const [full, cut] = done(
      await compareMethods(model, question(9, { budget: 1 }), parseVariants('uniform')),
    );
    expect(full.probability).toBe(rows[0].probability);
    expect(cut.probability).not.toBe(full.probability);
  });

  test('a method that the model cannot have is a row with its reason, and no tensor is left', async () => {
    const model = tinyLlava(seededRandom(10));
    const asked = question(11);
    await expectNewTensors(0, 'compareMethods', async () => {
      const variants = [...parseVariants('vtc-cls:layers=4,uniform'), asMethod('two', keepTwo)];
      const rows = await compareMethods(model, asked, variants);
      expect(rows.map(wasRefused)).toEqual([false, true, false, false]);
      expect(rows[1]).toMatchObject({ reason: expect.stringMatching(/^--layers 4: the ensemble/) as string });
    });
  });
});
