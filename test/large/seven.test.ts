/**
 * LLaVA-1.5-7B's shape, two of its 32 decoder layers, in bfloat16: written, loaded and asked in each of the ways that weights can be
 * kept. 2 GB of disk and 6 of memory, so only where VTC_TEST_LARGE asks for it, as CI does.
 */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { makeCheckpoint } from '../../bench/large/checkpoint.ts';
import { inputRecipe, inputTensor } from '../../bench/weights.ts';
import { startBackend } from '../../src/backend/start.ts';
import type { Keeping } from '../../src/checkpoint/keeping.ts';
import { none } from '../../src/compress/none.ts';
import { vtcCls } from '../../src/compress/vtc-cls.ts';
import { loadModel } from '../../src/node/checkpoint.ts';
import { prepareAnswer } from '../../src/plan.ts';
import { answer } from '../../src/story.ts';
import { scope } from '../../src/tensor/scope.ts';
import { createTrace } from '../../src/tensor/trace.ts';

const asked = process.env['VTC_TEST_LARGE'] !== undefined;
if (!asked) console.warn('skipping the slice of LLaVA-1.5-7B: VTC_TEST_LARGE=1 asks for it');

const text = Array.from({ length: 32 }, (_, i) => 100 + 97 * i);
const prompts = [{ before: text, after: text }];

/** Its first logits, its tokens and what the decoder read, with all visual tokens and with 64. */
async function ask(dir: string, weightsAs: Keeping) {
  using own = scope();
  const before = tf.memory().numBytes;
  const model = own(await loadModel(dir, undefined, { weightsAs }));
  const bytes = tf.memory().numBytes - before;
  const { llava } = model;
  const pixels = own(inputTensor<tf.Tensor4D>(inputRecipe('pixels', [1, 336, 336, 3])));
  const answers = [];
  for (const [method, budget] of [
    [none, 576],
    [vtcCls, 64],
  ] as const) {
    const options = { maxNewTokens: 4 };
    const plan = prepareAnswer(
      llava!.config,
      { method, methodOptions: method.defaults, budget },
      prompts,
      options,
    );
    const names = ['projector.output', 'decoder.logits', 'decoder.hidden.LL'];
    const trace = own(createTrace((name) => names.includes(name)));
    const { tokens, kept } = await answer(llava!, pixels, prompts, plan, { ...options, trace });
    const seen = new Map<string, Float32Array>();
    for (const [name, tensor] of trace.tensors) seen.set(name, await tensor.data<'float32'>());
    answers.push({ tokens: tokens[0], kept, seen });
  }
  return { bytes, answers };
}

describe.runIf(asked)('two layers of LLaVA-1.5-7B', () => {
  let dir: string;
  let float32: Awaited<ReturnType<typeof ask>>;
  beforeAll(async () => {
    await startBackend('tensorflow');
    dir = await makeCheckpoint('llava-7b', { layers: 2, say: () => undefined });
    float32 = await ask(dir, 'float32');
  }, 300_000);

  test('in float32 answer', () => {
    expect(float32.bytes).toBeGreaterThan(3.9e9);
    expect(float32.answers.map(({ tokens }) => tokens.length)).toEqual([4, 4]);
    expect(float32.answers[1].kept![0].length).toBe(64);
  });

  test.each(['stored', 'streamed'] as const)(
    '%s: the same states to the bit, the same answers',
    async (weightsAs) => {
      const seen = await ask(dir, weightsAs);
      expect(seen.bytes).toBeLessThan(weightsAs === 'stored' ? 2.03e9 : 1.99e9);
      for (const [i, { tokens, kept, seen: states }] of seen.answers.entries()) {
        const expected = float32.answers[i];
        expect(tokens).toEqual(expected.tokens);
        expect(kept).toEqual(expected.kept);
        for (const [name, values] of states) {
          const others = expected.seen.get(name)!;
          const wrong = values.reduce((worst, x, k) => Math.max(worst, Math.abs(x - others[k])), 0);
          const largest = others.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
          // The last token alone is multiplied by the output matrix: by our own kernel, which adds up in another order.
          expect(wrong / largest, name).toBeLessThanOrEqual(name.startsWith('decoder.logits') ? 3e-6 : 0);
        }
      }
    },
    300_000,
  );
});
