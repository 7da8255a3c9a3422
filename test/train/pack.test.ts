import * as tf from '@tensorflow/tfjs-core';
import { free } from '../../src/tensor/scope.ts';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { createCache } from '../../src/decoder/cache.ts';
import { runLlama } from '../../src/decoder/llama.ts';
import { createRope } from '../../src/decoder/rope.ts';
import { spliceImage } from '../../src/decoder/splice.ts';
import { project } from '../../src/projector.ts';
import { startBackend } from '../../src/backend/start.ts';
import { answerLogits } from '../../src/train/llava-stage.ts';
import { packQuestions, type AskedTokens } from '../../src/train/pack.ts';
import { axis, draw, expectNear, randoms, tidyEachTest } from '../support/random.ts';
import { tinyLlava } from '../support/tiny.ts';

beforeAll(async () => {
  await startBackend('cpu');
});
tidyEachTest();

test('a packed question is answered as if it were asked alone', async () => {
  await fc.assert(
    fc.asyncProperty(randoms, axis(2), axis(3), axis(4), async (random, B, questions, P) => {
      const model = tinyLlava(random);
      const { config, projector, decoder } = model;
      const D = config.projector.inner;
      const token = () => Math.floor(random() * config.text.vocab_size);
      const tokens = (most: number) => Array.from({ length: 1 + Math.floor(random() * most) }, token);
      const before = tokens(3);
      const batch: AskedTokens[][] = Array.from({ length: B }, () =>
        Array.from({ length: questions }, () => ({ ask: tokens(4), answer: [token(), 2] })),
      );
      const features = tf.tensor3d(draw(random, [B, P, D]));
      const packed = packQuestions(batch, before.length + P, token());
      const weights = { projector: projector.weights, decoder: decoder.weights };
      const logits = answerLogits(config, weights, { features, before, packed });

      const expected: number[][] = [];
      const rope = createRope(config.text, 32);
      for (const [b, items] of batch.entries()) {
        const visual = project(projector, tf.slice(features, [b, 0, 0], [1, P, D]));
        for (const { ask, answer } of items) {
          const prompt = spliceImage(decoder, [{ before, after: [...ask, answer[0]] }], visual);
          const cache = createCache();
          const alone = await runLlama(decoder, prompt, { rope, cache, allLogits: true });
          free(cache);
          expected.push(...((await alone.array()) as number[][][])[0].slice(-2));
        }
      }
      expectNear(logits, expected, 'logits where the answer and its end are due');
      expect(packed.targets).toEqual(batch.flat().flatMap(({ answer }) => answer));
    }),
    { numRuns: 25 },
  );
});
