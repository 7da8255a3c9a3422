/** A method that is watched does what it does unwatched. */
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import type { DecoderMethod } from '../../src/compress/method.ts';
import { methods } from '../../src/compress/registry.ts';
import { followHook } from '../../src/eval/follow.ts';
import { describeEachBackend } from '../support/backends.ts';
import { randomPrompt, runHooked, sourceOf } from '../support/hooks.ts';
import { expectNear, expectNewTensors, seededRandom, tidyEachTest } from '../support/random.ts';
import { tinyLlama, tinyLlamaConfig } from '../support/tiny.ts';

const [L, P] = [4, 36];
const between = methods.filter((method): method is DecoderMethod => method.where === 'decoder');

describeEachBackend('watching', () => {
  tidyEachTest();

  test.each(between.map((method) => [method.name, method] as const))('%s', async (_, method) => {
    const random = seededRandom(40);
    const llama = tinyLlama(random, { ...tinyLlamaConfig, num_hidden_layers: L });
    for (const U of [1, 5, 12, 30]) {
      const prompt = () => randomPrompt(llama, seededRandom(U), 1, 3, P, 4);
      const hook = () => method.hook(sourceOf({ L, P }), U, method.defaults);
      const plain = await runHooked(llama, prompt(), hook());
      const watched = followHook(hook(), 0);
      const run = await runHooked(llama, prompt(), watched.hook);
      expect([run.positions, run.roles]).toEqual([plain.positions, plain.roles]);
      expectNear(run.logits, plain.logits.arraySync(), 'logits');
      const { kept, made, groups } = watched.tell();
      expect(kept.length + made).toBe(run.roles.at(-1)![0].filter((role) => role === 'image').length);
      expect(new Set(groups.filter((group) => group >= 0)).size).toBe(kept.length + made);
    }
  });

  test('leaves no tensor', async () => {
    const llama = tinyLlama(seededRandom(41), { ...tinyLlamaConfig, num_hidden_layers: L });
    for (const method of between) {
      const prompt = randomPrompt(llama, seededRandom(42), 1, 3, P, 4);
      const hook = () => method.hook(sourceOf({ L, P }), 5, method.defaults);
      const left = async (run: () => Promise<unknown>) => {
        const before = tf.memory().numTensors;
        await run();
        return tf.memory().numTensors - before;
      };
      const plain = await left(() => runHooked(llama, prompt, hook()));
      await expectNewTensors(plain, method.name, () => runHooked(llama, prompt, followHook(hook(), 0).hook));
    }
  });
});
