/** Random choice in depth: what its seed decides, and nothing else; its twin and its caches are in between-layers.test.ts. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { random } from '../../src/compress/random.ts';
import { findMethod } from '../../src/compress/registry.ts';
import { firstOf, type TokenMatrix } from '../../src/tensor/token-matrix.ts';
import { createTrace } from '../../src/tensor/trace.ts';
import { describeEachBackend } from '../support/backends.ts';
import { runMethod, runVlm, seenOf, sourceOf, type RunOptions } from '../support/methods.ts';
import { axis, draw, expectEqual, randoms, seededRandom, tidyEachTest } from '../support/random.ts';
import { tinyLlava } from '../support/tiny.ts';

const [P, runs] = [16, { numRuns: 12 }];
const prompts = [
  { before: [1, 5], after: [7, 3, 4] },
  { before: [1, 5, 6], after: [9, 2] },
];
const cases = fc.record({ values: randoms, U: axis(P), seed: fc.nat(1e9), layer: fc.nat(2) });
const picked = (W: TokenMatrix) => W.rows.map((picture) => picture.map(firstOf));

/** A run, and what the decoder holds of it at the end. */
async function run(
  values: () => number,
  options: Partial<RunOptions> & Pick<RunOptions, 'method' | 'methodOptions' | 'budget'>,
) {
  // prettier-ignore
  const trace = createTrace((name) => name === 'decoder.logits');
  const input = { pixels: tf.tensor4d(draw(values, [2, 9, 9, 3])), prompts };
  const model = tinyLlava(seededRandom(5));
  const answered = await runVlm(model, input, { maxNewTokens: 3, trace, ...options });
  return { ...answered, matrices: trace.matrices, logits: trace.tensors.get('decoder.logits')! };
}

const inDepth = (budget: number, layer: number, seed: number) => ({
  method: findMethod('random-in-depth'),
  methodOptions: { layer, seed },
  budget,
});

describeEachBackend('random in depth', () => {
  tidyEachTest();

  test('keeps what random keeps under the same seed, at every layer and of every picture', async () => {
    await fc.assert(
      fc.asyncProperty(cases, axis(P - 1), async ({ values, seed, layer }, U) => {
        const { matrices } = await run(values, inDepth(U, layer, seed));
        const { kept } = await runMethod(random, seenOf(tf.zeros([2, P, 1])), U, { options: { seed } });
        expect(picked(matrices.get(`decoder.matrix.0${layer}`)!)).toEqual(kept);
      }),
      runs,
    );
  });

  test('at layer 0 it is random with original positions, bit by bit', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ values: drawn, U, seed }) => {
        const seedOf = Math.floor(1e6 * drawn());
        const values = () => seededRandom(seedOf);
        const deep = await run(values(), inDepth(U, 0, seed));
        const flat = await run(values(), {
          ...{ method: findMethod('random'), methodOptions: { seed }, budget: U, positions: 'original' },
        });
        expect([deep.tokens, deep.prefillLengths]).toEqual([flat.tokens, flat.prefillLengths]);
        expectEqual(deep.logits, flat.logits, 'logits');
      }),
      runs,
    );
  });

  test('with U = P nothing is cut', async () => {
    const all = await run(seededRandom(3), inDepth(P, 1, 7));
    const none = await run(seededRandom(3), { method: findMethod('none'), methodOptions: {}, budget: P });
    expect([...all.matrices.keys()]).toEqual(['compress.matrix']);
    expectEqual(all.logits, none.logits, 'logits');
  });

  test('another seed is another choice', async () => {
    const choices = new Set<string>();
    for (let seed = 0; seed < 8; seed++) {
      const { matrices } = await run(seededRandom(3), inDepth(4, 1, seed));
      choices.add(picked(matrices.get('decoder.matrix.01')!).join());
    }
    expect(choices.size).toBe(8);
  });
});

test('a decoder of two layers or fewer needs a layer named', () => {
  const { method, methodOptions } = inDepth(4, 2, 0);
  const shallow = sourceOf({ patches: P, decoderLayers: 2 });
  const message = 'random-in-depth: layer=2 is not a whole number from 0 to 1: the decoder has 2 layers';
  expect(() => method.prepare(shallow, 4, methodOptions, {})).toThrow(message);
});
