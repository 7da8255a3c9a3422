/** Every method tells its own steps in its own words, and the words are of steps that its run has. */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { startBackend } from '../../src/backend/start.ts';
import type { Llava } from '../../src/checkpoint/load.ts';
import type { MethodOptions } from '../../src/compress/method.ts';
import { findMethod, methods } from '../../src/compress/registry.ts';
import { prepareAnswer } from '../../src/plan.ts';
import { answer } from '../../src/story.ts';
import { createTrace, stepName } from '../../src/tensor/trace.ts';
import { draw, seededRandom, tidyEachTest } from '../support/random.ts';
import { tinyClip, tinyLlava } from '../support/tiny.ts';

beforeAll(() => startBackend('wasm'));
tidyEachTest();
const decoding = { maxNewTokens: 1 };
const prompts = [{ before: [1, 2], after: [3, 4, 5], question: [1, 7] }];

/** The words of a plan, and the names of the steps that its run has. */
async function tell(name: string, budget: number) {
  const [model, random] = [tinyLlava(seededRandom(8)), seededRandom(9)];
  const clip = tinyClip(random);
  const llava: Llava = { ...model, clip: { ...clip, vision: model.vision } };
  const method = findMethod(name);
  const few: MethodOptions =
    'layers' in method.defaults ? { layers: 2 } : name === 'pyramiddrop' ? { stages: 3 } : {};
  const chosen = { method, methodOptions: { ...method.defaults, ...few }, budget };
  const plan = prepareAnswer(model.config, chosen, prompts, decoding);
  const trace = createTrace(() => false);
  const pixels = tf.tensor4d(draw(random, [1, 9, 9, 3]));
  await answer(llava, pixels, prompts, plan, { ...decoding, trace });
  return { words: plan.words ?? {}, steps: new Set(trace.steps.map((step) => stepName(step.name))) };
}

test.each(methods.map(({ name }) => name))('%s', async (name) => {
  const { words, steps } = await tell(name, 9);
  const [where, ...others] = Object.keys(words);
  expect(others).toEqual([]);
  expect([...steps]).toContain(where);
  const [said] = Object.values(words);
  expect(said).toMatch(/^\S.{15,110}\S$/); // it ends a line of a terminal
});

test('the numbers are those of the run', async () => {
  const { words } = await tell('vtc-cls', 5);
  expect(words['compress.matrix']).toBe('s = sum over layers 1, 2 of the mean over heads; its top 5 stay');
  expect((await tell('pyramiddrop', 4)).words['decoder.matrix.LL']).toMatch(/: (\d+ from layer \d+(, )?)+$/);
});

test('those of a stack are those of its methods', async () => {
  const { words, steps } = await tell('vtc-cls+fastv', 4);
  expect(Object.keys(words)).toEqual(['compress.matrix', 'decoder.matrix.LL']);
  for (const step of Object.keys(words)) expect([...steps]).toContain(step);
  expect(words['compress.matrix']).toContain('its top 8 stay'); // 16 · √(4/16)
  expect(words['decoder.matrix.LL']).toBe('the 4 image tokens that the last token gives most in layer 1');
});
