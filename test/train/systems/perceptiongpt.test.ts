/** PerceptionGPT's training: what it learns from is what inference says, and its gradients are right. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { startBackend } from '../../../src/backend/start.ts';
import type { Llava } from '../../../src/checkpoint/load.ts';
import {
  boxToken,
  perceptionGpt,
  withBoxWords,
  type PerceptionGptWeights,
} from '../../../src/compress/trained/perceptiongpt.ts';
import { createCache } from '../../../src/decoder/cache.ts';
import { runLlama, type Llama } from '../../../src/decoder/llama.ts';
import { createRope } from '../../../src/decoder/rope.ts';
import { spliceImage } from '../../../src/decoder/splice.ts';
import { project } from '../../../src/projector.ts';
import { boxLoss } from '../../../src/train/box-loss.ts';
import { registerGradients } from '../../../src/train/gradients.ts';
import { crossEntropy } from '../../../src/train/losses.ts';
import { packQuestions, type AskedTokens } from '../../../src/train/pack.ts';
import { answerBatch, type PerceptionGptBatch } from '../../../src/train/systems/perceptiongpt.ts';
import type { BoxQuestion } from '../../../src/world/box-questions.ts';
import type { Box } from '../../../src/world/scene.ts';
import { checkGradients } from '../../support/gradients.ts';
import {
  axis,
  draw,
  expectNear,
  randoms,
  seededRandom,
  tidyEachTest,
  type Random,
} from '../../support/random.ts';
import { randomWeights, tinyLlava } from '../../support/tiny.ts';

beforeAll(async () => {
  await startBackend('cpu');
  registerGradients();
});
tidyEachTest();

interface Case {
  model: Llava;
  weights: PerceptionGptWeights;
  batch: PerceptionGptBatch;
  items: AskedTokens[][];
}

/** Of each of B scenes a plain question, a box that is asked for and one that is given. */
function drawCase(random: Random, B: number, P: number): Case {
  const model = tinyLlava(random);
  const { vocab_size: V } = model.config.text;
  const loc = V;
  const token = () => Math.floor(random() * V);
  const tokens = (most: number) => Array.from({ length: 1 + Math.floor(random() * most) }, token);
  const before = tokens(3);
  const question = (type: BoxQuestion['type']): BoxQuestion => {
    const [x, y] = [0.1 + 0.3 * random(), 0.1 + 0.3 * random()];
    const box: Box = [x, y, x + 0.1 + 0.3 * random(), y + 0.1 + 0.3 * random()];
    return { id: '', type, question: '', answer: '', box };
  };
  const items = Array.from({ length: B }, (): AskedTokens[] => [
    { ask: tokens(4), answer: [token(), 2] },
    { ask: tokens(4), answer: [loc, 2] },
    { ask: [token(), loc, token()], answer: [...tokens(2), 2] },
  ]);
  const about = items.map(() => [question('locate'), question('identify')]);
  const packed = packQuestions(items, before.length + P, token());
  const features = tf.tensor3d(draw(random, [B, P, model.config.projector.inner]));
  const weights = randomWeights(random, perceptionGpt.table(model.config));
  const batch = { features, about, before, packed, questions: items.map(() => []) };
  return { model, weights, items, batch };
}

test('packed questions are answered as if each were asked alone, boxes too', async () => {
  await fc.assert(
    fc.asyncProperty(randoms, axis(2), axis(4), async (random, B, P) => {
      const { model, weights, batch, items } = drawCase(random, B, P);
      const { features, about, before } = batch;
      const { logits, boxes } = answerBatch(model, weights, batch);
      const llama: Llama = { config: withBoxWords(model.config.text), weights: weights.decoder };
      const token = boxToken(model.config.text, weights);
      const rope = createRope(llama.config, 32);
      const expected: { logits: number[][]; boxes: number[][] } = { logits: [], boxes: [] };
      for (const [b, asked] of items.entries()) {
        const picture = tf.slice(features, [b, 0, 0], [1, P, features.shape[2]]);
        const visual = project({ config: model.config.projector, weights: weights.projector }, picture);
        for (const [q, { ask, answer }] of asked.entries()) {
          const after = [...ask, ...answer.slice(0, -1)];
          const numbers = q === 0 ? [] : [[...about[b][q - 1].box]];
          const X = spliceImage(llama, [{ before, after, numbers }], visual, undefined, token);
          const all = await runLlama(llama, X, { rope, cache: createCache(), allLogits: true });
          expected.logits.push(...all.arraySync()[0].slice(-answer.length));
          if (q !== 1) continue;
          // What says <loc> has not seen it: the question alone.
          const asking = spliceImage(llama, [{ before, after: ask }], visual, undefined, token);
          const cache = createCache(true);
          await runLlama(llama, asking, { rope, cache });
          expected.boxes.push(...token.read(tf.reshape(cache.state!, [1, -1])).arraySync());
        }
      }
      expectNear(logits, expected.logits, 'logits');
      expectNear(boxes, expected.boxes, 'boxes');
    }),
    { numRuns: 20 },
  );
});

test('the loss has the gradient of finite differences, in all weights', () => {
  const random = seededRandom(4);
  const { model, weights, batch } = drawCase(random, 2, 3);
  const truth = tf.tensor2d(batch.about.map(([{ box }]) => [...box]));
  checkGradients(random, weights, (current) => {
    const { logits, boxes } = answerBatch(model, current, batch);
    const loss = tf.add(crossEntropy(logits, batch.packed.targets), boxLoss(boxes, truth));
    return tf.div(loss, 10); // of order 1, as the bound is
  });
});

test('a box that is given moves what is said after it, and nothing before it', () => {
  const { model, weights, batch } = drawCase(seededRandom(5), 1, 3);
  const about = batch.about.map(([first, second]) => [first, { ...second, box: [0, 0, 1, 1] as Box }]);
  const [a, b] = [batch, { ...batch, about }].map((one) => answerBatch(model, weights, one));
  const rows = (logits: tf.Tensor2D, from: number, to: number) => logits.arraySync().slice(from, to);
  expect(rows(a.logits, 0, 4)).toEqual(rows(b.logits, 0, 4));
  expect(rows(a.logits, 4, 5)).not.toEqual(rows(b.logits, 4, 5));
  expect(a.boxes.arraySync()).toEqual(b.boxes.arraySync());
});
