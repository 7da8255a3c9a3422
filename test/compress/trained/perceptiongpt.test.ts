/** PerceptionGPT: against a float64 twin, against PyTorch, and what it promises. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Llava } from '../../../src/checkpoint/load.ts';
import { findMethod } from '../../../src/compress/registry.ts';
import { stack } from '../../../src/compress/stack.ts';
import type { Method } from '../../../src/compress/method.ts';
import {
  boxToken,
  perceptionGpt,
  runMlp,
  withBoxWords,
  type PerceptionGptWeights,
} from '../../../src/compress/trained/perceptiongpt.ts';
import { withWeights } from '../../../src/compress/trained/system.ts';
import { prefill, runToken, writeOn } from '../../../src/decoder/generate.ts';
import type { Llama } from '../../../src/decoder/llama.ts';
import { spliceImage } from '../../../src/decoder/splice.ts';
import { UserError } from '../../../src/errors.ts';
import { loadTree } from '../../../src/io/load-tree.ts';
import { storeTree } from '../../../src/io/weight-table.ts';
import { openSafetensors } from '../../../src/node/safetensors.ts';
import { prepare, prepareAnswer } from '../../../src/plan.ts';
import { project } from '../../../src/projector.ts';
import { choose, see } from '../../../src/story.ts';
import { boxLoss } from '../../../src/train/box-loss.ts';
import { registerGradients } from '../../../src/train/gradients.ts';
import { crossEntropy } from '../../../src/train/losses.ts';
import { packQuestions } from '../../../src/train/pack.ts';
import { listTensors, replaceTensors } from '../../../src/train/parameters.ts';
import { answerBatch, type PerceptionGptBatch } from '../../../src/train/systems/perceptiongpt.ts';
import type { BoxQuestion } from '../../../src/world/box-questions.ts';
import type { Box } from '../../../src/world/scene.ts';
import { writeBoxAnswer } from '../../reference/perceptiongpt.ts';
import { describeEachBackend } from '../../support/backends.ts';
import { expectClose, golden, readExpected, type Expected } from '../../support/golden.ts';
import { runVlm } from '../../support/methods.ts';
import {
  draw,
  expectNear,
  expectNewTensors,
  randoms,
  seededRandom,
  tidyEachTest,
  toArrays,
  type Random,
} from '../../support/random.ts';
import { randomWeights, tinyLlava } from '../../support/tiny.ts';

/** A model and a system for it. In half of all cases the decoder says little but `<loc>`. */
function drawSystem(random: Random): { model: Llava; weights: PerceptionGptWeights; method: Method } {
  const model = tinyLlava(random);
  const weights = randomWeights(random, perceptionGpt.table(model.config));
  if (random() < 0.5) {
    // All of a column that the final norm's output mostly agrees with.
    const [E, V] = (weights.decoder.lm_head.weight as tf.Tensor2D).shape;
    const more = tf.tensor2d(draw(random, [E, V]).map((row) => row.map((x, v) => (v === V - 2 ? 8 * x : 0))));
    weights.decoder.lm_head = { weight: tf.add(weights.decoder.lm_head.weight as tf.Tensor2D, more) };
  }
  const method = withWeights(perceptionGpt, { weights, model: model.config }) as unknown as Method;
  return { model, weights, method };
}

const pixelsOf = (random: Random, { config }: Llava, B: number): tf.Tensor4D =>
  tf.tensor4d(draw(random, [B, config.vision.image_size, config.vision.image_size, 3]));

describeEachBackend('PerceptionGPT', () => {
  tidyEachTest();

  test('answers as a float64 twin that computes everything anew for each token', async () => {
    let boxes = 0;
    await fc.assert(
      fc.asyncProperty(randoms, fc.boolean(), async (random, given) => {
        const { model, weights, method } = drawSystem(random);
        const { vocab_size: V } = model.config.text;
        const token = () => Math.floor(random() * V);
        const box = () => [random(), random(), random(), random()];
        const B = 2;
        const after = Array.from({ length: B }, () => [token(), given ? V : token(), token()]);
        const prompts = after.map((ids) => ({ before: [1, 5], after: ids, numbers: given ? [box()] : [] }));
        const pixels = pixelsOf(random, model, B);
        const chosen = { method, methodOptions: {}, budget: 16 };
        const answered = await runVlm(model, { pixels, prompts }, { ...chosen, maxNewTokens: 4 });

        const llama: Llama = { config: withBoxWords(model.config.text), weights: weights.decoder };
        const plan = prepareAnswer(model.config, chosen, prompts, { maxNewTokens: 4 });
        const { tokens } = await choose(model, await see(model, pixels, plan), plan);
        const arrays = toArrays(weights);
        for (const [b, prompt] of prompts.entries()) {
          const features = tokens.arraySync()[b];
          const expected = writeBoxAnswer(
            arrays,
            llama.config,
            model.config.projector,
            features,
            prompt,
            answered.tokens[b],
          );
          // A near-tie may fall either way in float32: the twin follows the tokens that were said.
          for (const [i, { best, said }] of expected.margins.entries()) {
            expect(best - said, `token ${i}`).toBeLessThan(1e-3);
          }
          expect(answered.numbers![b]).toHaveLength(expected.boxes.length);
          if (expected.boxes.length === 0) continue;
          boxes += expected.boxes.length;
          expectNear(tf.tensor2d(answered.numbers![b]), expected.boxes, 'boxes');
        }
      }),
      { numRuns: 12, seed: 5 },
    );
    expect(boxes).toBeGreaterThan(10);
  });

  test('with its last layer at 0, as training begins, every box is .5 .5 .5 .5', () => {
    const { model, weights } = drawSystem(seededRandom(1));
    const [first, second, third] = weights.read;
    const zero = { weight: tf.zerosLike(third.weight as tf.Tensor2D), bias: tf.zerosLike(third.bias!) };
    const token = boxToken(model.config.text, { ...weights, read: [first, second, zero] });
    expect(token.read(tf.tensor2d(draw(seededRandom(2), [3, 8]))).arraySync()).toEqual(
      Array(3).fill([0.5, 0.5, 0.5, 0.5]),
    );
    expect(runMlp(weights.write, tf.tensor2d([[0, 0, 1, 1]])).shape).toEqual([1, 8]);
  });

  test('without <loc> it is the decoder that it brings, bit for bit', async () => {
    const random = seededRandom(4);
    const { model, weights, method } = drawSystem(random);
    const brought = {
      ...model,
      config: { ...model.config, text: withBoxWords(model.config.text) },
      projector: { ...model.projector, weights: weights.projector },
      decoder: { config: withBoxWords(model.config.text), weights: weights.decoder },
    };
    const prompts = [{ before: [1, 5], after: [3, 7] }];
    const pixels = pixelsOf(random, model, 1);
    const options = { methodOptions: {}, budget: 16, maxNewTokens: 1 };
    const [own, plain] = [
      await runVlm(model, { pixels, prompts }, { method, ...options }),
      await runVlm(brought, { pixels, prompts }, { method: findMethod('none'), ...options }),
    ];
    expect(own.tokens).toEqual(plain.tokens);
    expect(plain.numbers).toBeUndefined();
  });

  test('stacked behind a method that prunes it takes no share of the budget, and says boxes', async () => {
    const random = seededRandom(6);
    const { model, method } = drawSystem(random);
    const stacked = stack([findMethod('fastervlm'), method]);
    const options = { methodOptions: {}, budget: 5, maxNewTokens: 3 };
    const prompts = [{ before: [1, 5], after: [3, model.config.text.vocab_size], numbers: [[0, 0, 0.5, 1]] }];
    const pixels = pixelsOf(random, model, 1);
    const both = await runVlm(model, { pixels, prompts }, { method: stacked, ...options });
    expect(both.kept![0]).toHaveLength(5);
    expect(both.prefillLengths).toEqual([9, 9, 9]);
    expect(stacked.adds).toEqual(['<loc>', 'locate']);
    const alone = prepare(model.config, { method: findMethod('fastervlm'), methodOptions: {}, budget: 5 });
    const plan = prepare(model.config, { method: stacked, methodOptions: {}, budget: 5 });
    expect(plan.needs).toEqual(alone.needs);
    expect(() => stack([method, findMethod('fastervlm')])).toThrow(
      /fastervlm acts before the decoder, before perceptiongpt/,
    );
    expect(() =>
      prepare(model.config, { method: stack([bringing, method]), methodOptions: {}, budget: 5 }),
    ).toThrow(
      new UserError(
        'bringing+perceptiongpt: bringing and perceptiongpt were each trained with a decoder of its own',
      ),
    );
  });

  test('refuses boxes that stand for nothing, and ids that its decoder has no row for', async () => {
    const { model, method } = drawSystem(seededRandom(7));
    const V = model.config.text.vocab_size;
    const pixels = pixelsOf(seededRandom(8), model, 1);
    const options = { method, methodOptions: {}, budget: 16, maxNewTokens: 1 };
    const asking = (after: number[], numbers?: number[][]) =>
      runVlm(model, { pixels, prompts: [{ before: [1], after, numbers }] }, options);
    await expect(asking([V])).rejects.toThrow(
      new UserError('token 19 stands once in the prompt, for 4 numbers each time; given are none'),
    );
    await expect(asking([3], [[0, 0, 1, 1]])).rejects.toThrow(/token 19 stands 0 times .* given are 4/);
    await expect(asking([V, V], [[0, 0, 1, 1], [0, 1]])).rejects.toThrow(/given are 4, 2/); // prettier-ignore
    await expect(asking([V + 2])).rejects.toThrow('the prompt: 21 is not a token id (0 .. 20)');
    const plain = { ...options, method: findMethod('none') };
    await expect(runVlm(model, { pixels, prompts: [{ before: [1], after: [V] }] }, plain)).rejects.toThrow(
      'the prompt: 19 is not a token id (0 .. 18)',
    );
  });

  test('leaves no tensor behind', async () => {
    const { model, method } = drawSystem(seededRandom(9));
    const V = model.config.text.vocab_size;
    const pixels = pixelsOf(seededRandom(8), model, 2);
    const prompts = [0, 1].map(() => ({ before: [1], after: [V, 3], numbers: [[0, 0, 1, 1]] }));
    const run = () =>
      runVlm(model, { pixels, prompts }, { method, methodOptions: {}, budget: 16, maxNewTokens: 4 });
    await run();
    await expectNewTensors(0, 'a run', run);
  });
});

/** Another system with a decoder of its own. */
const bringing: Method = {
  ...findMethod('none'),
  name: 'bringing',
  prepare: () => ({ brings: {} }),
};

describeEachBackend('PyTorch’s PerceptionGPT', (backend) => {
  tidyEachTest();
  let file: Expected;
  beforeAll(async () => {
    file = await readExpected(golden('perceptiongpt.safetensors'));
  });
  afterAll(() => file.close());
  const { config } = tinyLlava(seededRandom(0));
  const [LOC, END] = [config.text.vocab_size, 2];
  const before = [1, 5];
  const ask = [[7, LOC, 3, 6], [4, 9, LOC, 6]]; // prettier-ignore

  async function readCase() {
    const source = await openSafetensors(golden('perceptiongpt.safetensors'));
    const table = perceptionGpt.table(config);
    const weights = await loadTree(
      { ...source, dir: '', readFloat32: (name) => source.readFloat32(`weights.${name}`) },
      table,
    );
    await source.close();
    const [given, truth] = [await file.float('given'), await file.float('truth')].map(
      (boxes) => boxes.arraySync() as unknown as Box[],
    );
    const question = (type: BoxQuestion['type'], box: Box): BoxQuestion => ({
      id: '',
      type,
      question: '',
      answer: '',
      box,
    });
    const features = (await file.float('features')) as tf.Tensor3D;
    const answers = [[LOC, 4, END], [LOC, 11, END]]; // prettier-ignore
    const batch: PerceptionGptBatch = {
      features,
      before,
      about: ask.map((_, b) => [question('identify', given[b]), question('locate', truth[b])]),
      packed: packQuestions(
        ask.map((tokens, b) => [{ ask: tokens, answer: answers[b] }]),
        5,
        0,
      ),
      questions: [[], []],
    };
    return { weights, table, batch, given, truth: await file.float('truth') };
  }
  const model = { config, projector: tinyLlava(seededRandom(0)).projector };

  test('logits, boxes, both losses', async () => {
    const { weights, batch, truth } = await readCase();
    const { logits, boxes } = answerBatch(model, weights, batch);
    expectClose(logits, await file.float('logits'), 'logits');
    expectClose(boxes, await file.float('boxes'), 'boxes');
    expectClose(
      tf.reshape(crossEntropy(logits, batch.packed.targets), [1]),
      await file.float('language'),
      'loss of words',
    );
    expectClose(
      tf.reshape(boxLoss(boxes, truth as tf.Tensor2D), [1]),
      await file.float('box'),
      'loss of boxes',
    );
  });

  test.skipIf(backend === 'wasm')('the gradient of every weight (wasm has none)', async () => {
    registerGradients();
    const { weights, table, batch, truth } = await readCase();
    const gradients = tf.grads((...tensors: tf.Tensor[]) => {
      const { logits, boxes } = answerBatch(model, replaceTensors(weights, tensors), batch);
      return tf.add(crossEntropy(logits, batch.packed.targets), boxLoss(boxes, truth as tf.Tensor2D));
    })(listTensors(weights));
    const stored = await storeTree(table, replaceTensors(weights, gradients));
    for (const [name, { shape, data }] of stored) {
      expectClose(tf.tensor(data, shape), await file.float(`gradient.${name}`), name);
    }
  });

  test('says <loc> by itself, reads its box, and goes on from it', async () => {
    const { weights, batch, given } = await readCase();
    const llama: Llama = { config: withBoxWords(config.text), weights: weights.decoder };
    const numberToken = boxToken(config.text, weights);
    const visual = project({ config: config.projector, weights: weights.projector }, batch.features);
    const prompts = ask.map((after, b) => ({ before, after, numbers: [[...given[b]]] }));
    const X = spliceImage(llama, prompts, visual, undefined, numberToken);
    const next = (await file.float('next')) as tf.Tensor2D;
    const again = await prefill(llama, X, { maxNewTokens: 2, numberToken });
    expectClose(await runToken(llama, again, [LOC, LOC]), tf.reshape(next, [2, 1, -1]), 'what follows');
    const session = await prefill(llama, X, { maxNewTokens: 2, numberToken });
    const { tokens, numbers } = await writeOn(llama, session, { maxNewTokens: 2 });
    const words = tf.argMax(next, 1).arraySync() as number[];
    expect(tokens).toEqual(words.map((word) => [LOC, word]));
    expectClose(tf.tensor2d(numbers!.map(([box]) => box)), await file.float('said'), 'what is said');
  });
});
