import * as tf from '@tensorflow/tfjs-core';
import { free } from '../../src/tensor/scope.ts';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { llavolta } from '../../src/compress/llavolta.ts';
import { createCache } from '../../src/decoder/cache.ts';
import { runLlama } from '../../src/decoder/llama.ts';
import { createRope } from '../../src/decoder/rope.ts';
import { spliceImage } from '../../src/decoder/splice.ts';
import { project } from '../../src/projector.ts';
import { startBackend } from '../../src/backend/start.ts';
import { answerLogits } from '../../src/train/llava-stage.ts';
import { packQuestions, type AskedTokens } from '../../src/train/pack.ts';
import { axis, draw, expectNear, randoms, tidyEachTest } from '../support/random.ts';
import { hookOf, sourceOf } from '../support/methods.ts';
import { tinyLlava } from '../support/tiny.ts';

beforeAll(async () => {
  await startBackend('cpu');
});
tidyEachTest();

const compressions = fc.option(
  fc.record({ layer: fc.constantFrom(0, 1), stride: fc.integer({ min: 1, max: 4 }) }),
  {
    nil: undefined,
  },
);

test('a packed question is answered as if it were asked alone, with LLaVolta’s compressor or without', async () => {
  const each = fc.tuple(randoms, axis(2), axis(3), axis(4), compressions);
  await fc.assert(
    fc.asyncProperty(each, async ([random, B, questions, P, compression]) => {
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
      const logits = answerLogits(config, weights, { features, before, packed }, compression);

      const U = Math.max(1, Math.round(P / (compression?.stride ?? 1)));
      const expected: number[][] = [];
      const rope = createRope(config.text, 32);
      for (const [b, items] of batch.entries()) {
        const visual = project(projector, tf.slice(features, [b, 0, 0], [1, P, D]));
        for (const { ask, answer } of items) {
          const prompt = spliceImage(decoder, [{ before, after: [...ask, answer[0]] }], visual);
          const cache = createCache();
          const hook =
            compression &&
            hookOf(llavolta, sourceOf({ patches: P, decoderLayers: 3 }), U, { layer: compression.layer });
          const alone = await runLlama(decoder, prompt, { rope, cache, allLogits: true, hook });
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
