import { appendFile, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { openSafetensors, writeSafetensors } from '../../src/node/safetensors.ts';
import type { TensorToWrite } from '../../src/io/safetensors.ts';
import { startBackend } from '../../src/backend/start.ts';
import { linear, type Linear } from '../../src/tensor/linear.ts';
import { answerLogits } from '../../src/train/llava-stage.ts';
import { crossEntropy, infoNce } from '../../src/train/losses.ts';
import { readMetrics } from '../../src/train/metrics.ts';
import { packQuestions } from '../../src/train/pack.ts';
import { listTensors } from '../../src/train/parameters.ts';
import { train, type Pace, type Stage } from '../../src/train/train.ts';
import { makeFolder } from '../support/pictures.ts';
import { draw, seededRandom } from '../support/random.ts';
import { tinyLlava } from '../support/tiny.ts';

const pace: Pace = {
  steps: 12,
  peak: 0.05,
  warmUp: 2,
  adamw: { beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weightDecay: 0.05, clip: 1 },
  validateEvery: 4,
};

interface ToyWeights {
  first: Linear;
  second: Linear;
}

/** A toy with data drawn by the step, as the real stages have it. */
function createToy(recipe = 'toy', changes: Partial<Pace> = {}): Stage<ToyWeights, tf.Tensor2D> {
  const random = seededRandom(3);
  const matrix = (rows: number, columns: number) => tf.tensor2d(draw(random, [rows, columns]));
  return {
    name: 'toy',
    pace: { ...pace, ...changes },
    recipe,
    weights: { first: { weight: matrix(4, 6), bias: tf.zeros([6]) }, second: { weight: matrix(6, 3) } },
    draw: (step) => tf.tensor2d(draw(seededRandom(step), [5, 4])),
    loss: ({ first, second }, batch) =>
      tf.tidy(() => crossEntropy(linear(second, tf.tanh(linear(first, batch))), [0, 1, 2, 0, 1])),
    validate: ({ second }) => ({ size: tf.sum(tf.square(second.weight as tf.Tensor2D)).dataSync()[0] }),
  };
}

const values = (weights: object): number[] => listTensors(weights).flatMap((x) => Array.from(x.dataSync()));

/** Trains until a step, then dies without a word, as a killed process does. */
async function trainAndDie(folder: string, at: number, checkpointEvery: number): Promise<void> {
  const onProgress = ({ step }: { step: number }) => {
    if (step === at) throw new Error('killed');
  };
  await expect(train(createToy(), { folder, checkpointEvery, onProgress })).rejects.toThrow('killed');
}

beforeAll(async () => {
  await startBackend('cpu');
});

describe('a run', () => {
  test('that was killed and started again ends where an undisturbed one ends', async () => {
    const [calm, disturbed] = [await makeFolder(), await makeFolder()];
    const expected = values(await train(createToy(), { folder: calm, checkpointEvery: 0 }));
    await trainAndDie(disturbed, 5, 0); // its last checkpoint is of step 4
    await appendFile(
      path.join(disturbed, 'toy.metrics.jsonl'),
      '{"step":5,"loss":1,"rate":1}\n{"step":6,"lo',
    );
    let first: number | undefined;
    const resumed = await train(createToy(), {
      folder: disturbed,
      checkpointEvery: 0,
      onProgress: ({ step }) => (first ??= step),
    });
    expect(first).toBe(5);
    values(resumed).forEach((x, i) => expect(x).toBeCloseTo(expected[i], 5));
    const metrics = await readMetrics(path.join(disturbed, 'toy.metrics.jsonl'));
    expect(metrics).toEqual(await readMetrics(path.join(calm, 'toy.metrics.jsonl')));
    expect(metrics.map(({ step }) => step)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    expect(metrics.filter(({ validation }) => validation).map(({ step }) => step)).toEqual([4, 8, 12]);
  });

  test('that is done is not done again, unless it is asked for afresh', async () => {
    const folder = await makeFolder();
    const steps: number[] = [];
    const options = {
      folder,
      checkpointEvery: 100,
      onProgress: ({ step }: { step: number }) => steps.push(step),
    };
    const done = values(await train(createToy(), options));
    expect(values(await train(createToy(), options))).toEqual(done);
    expect(steps).toHaveLength(12);
    await train(createToy(), { ...options, fresh: true });
    expect(steps).toHaveLength(24);
  });

  test('does not go on from a checkpoint of another recipe', async () => {
    const folder = await makeFolder();
    await trainAndDie(folder, 3, 0);
    const other = createToy('another');
    await expect(train(other, { folder, checkpointEvery: 0 })).rejects.toThrow(UserError);
    const longer = createToy('toy', { steps: 13 });
    await expect(train(longer, { folder, checkpointEvery: 0 })).rejects.toThrow(/--fresh/);
  });

  test.each<[string, string, number[], number[], string, string]>([
    ['a step', 'F32', [48], [0.5], '1e0', 'is of step "1e0", not of 1 to 12'],
    ['a step beyond', 'F32', [48], [0.5], '13', 'is of step "13", not of 1 to 12'],
    ['a shape', 'F32', [6, 8], [0.5], '2', 'square is F32 [6, 8], should be F32 [48]'],
    ['a length', 'F32', [47], [0.5], '2', 'square is F32 [47], should be F32 [48]'],
    ['a type', 'I32', [48], [1], '2', 'square is I32 [48], should be F32 [48]'],
    ['NaN', 'F32', [48], [NaN], '2', 'square holds NaN'],
    ['a negative square', 'F32', [48], [-1], '2', 'square holds -1'],
    ['fewer metrics', 'F32', [48], [0.5], '3', 'holds 2 steps, but the checkpoint is of step 3'],
  ])(
    'does not go on from a checkpoint that none has left: %s',
    async (_, dtype, shape, [x], step, message) => {
      const folder = await makeFolder();
      await trainAndDie(folder, 3, 0);
      const file = path.join(folder, 'toy.checkpoint.safetensors');
      const saved = await openSafetensors(file);
      const { recipe } = saved.metadata;
      await saved.close();
      const size = shape.reduce((product, n) => product * n, 1);
      const fine = { dtype: 'F32' as const, shape: [48], data: new Float32Array(48).fill(0.5) };
      const values = dtype === 'I32' ? new Int32Array(size).fill(x) : new Float32Array(size).fill(x);
      const square = { dtype, shape, data: values } as TensorToWrite;
      await writeSafetensors(file, { weights: fine, mean: fine, square }, { step, recipe });
      const toy = createToy();
      const before = tf.memory().numTensors;
      const going = train(toy, { folder, checkpointEvery: 0 });
      await expect(going).rejects.toThrow(UserError);
      await expect(going).rejects.toThrow(message);
      expect(tf.memory().numTensors).toBe(before);
    },
  );

  test('writes no checkpoint before its time, and one at the end', async () => {
    const folder = await makeFolder();
    const file = path.join(folder, 'toy.checkpoint.safetensors');
    await trainAndDie(folder, 8, 1000);
    await expect(stat(file)).rejects.toThrow();
    await train(createToy(), { folder, checkpointEvery: 1000 });
    expect((await readFile(file)).length).toBeGreaterThan(100);
  });

  test('stops when its loss is no number, and holds its weights below their limit', async () => {
    const toy = createToy();
    const broken = { ...toy, loss: () => tf.scalar(NaN) as tf.Scalar };
    await expect(train(broken, { folder: await makeFolder(), checkpointEvery: 0 })).rejects.toThrow();
    const most = tf.fill([48], 0.125) as tf.Tensor1D;
    const held = await train({ ...toy, most }, { folder: await makeFolder(), checkpointEvery: 100 });
    expect(Math.max(...values(held))).toBe(0.125);
  });

  test('keeps no tensors but its weights', async () => {
    const toy = createToy();
    const folder = await makeFolder();
    await train(toy, { folder, checkpointEvery: 100 });
    const before = tf.memory().numTensors;
    await train(toy, { folder, fresh: true, checkpointEvery: 100 });
    expect(tf.memory().numTensors - before).toBe(3);
  });
});

describe('one batch is learned by heart', () => {
  const adamw = { ...pace.adamw, weightDecay: 0 };

  test('by a LLaVA: projector, decoder, packed questions', async () => {
    const random = seededRandom(11);
    const { config, projector, decoder } = tinyLlava(random);
    const P = 4;
    const features = tf.tensor3d(draw(random, [2, P, config.projector.inner]));
    // The same questions, with other answers for another picture: only the features tell them apart.
    const ask = [[5, 6], [7], [8, 9, 10]]; // prettier-ignore
    const batch = [3, 11].map((first) => ask.map((tokens, q) => ({ ask: tokens, answer: [first + q, 2] })));
    const packed = packQuestions(batch, 1 + P, 0);
    const stage: Stage<{ projector: typeof projector.weights; decoder: typeof decoder.weights }, null> = {
      name: 'llava',
      pace: { ...pace, steps: 80, peak: 0.03, adamw, validateEvery: 1000 },
      recipe: '',
      weights: { projector: projector.weights, decoder: decoder.weights },
      draw: () => null,
      loss: (weights) =>
        tf.tidy(() =>
          crossEntropy(answerLogits(config, weights, { features, before: [1], packed }), packed.targets),
        ),
      validate: () => ({}),
    };
    let last = Infinity;
    const onProgress = ({ loss }: { loss: number }) => (last = loss);
    await train(stage, { folder: await makeFolder(), checkpointEvery: 100, onProgress });
    expect(last).toBeLessThan(0.01);
  });

  test('by InfoNCE, whose pairs find each other', async () => {
    const random = seededRandom(5);
    const left = tf.tensor2d(draw(random, [5, 6]));
    const right = tf.tensor2d(draw(random, [5, 6]));
    const stage: Stage<{ a: Linear; b: Linear }, null> = {
      name: 'nce',
      pace: { ...pace, steps: 150, peak: 0.1, adamw, validateEvery: 1000 },
      recipe: '',
      weights: {
        a: { weight: tf.tensor2d(draw(random, [6, 8])) },
        b: { weight: tf.tensor2d(draw(random, [6, 8])) },
      },
      draw: () => null,
      loss: ({ a, b }) =>
        tf.tidy(() => infoNce(tf.matMul<tf.Tensor2D>(linear(a, left), linear(b, right), false, true))),
      validate: () => ({}),
    };
    let last = Infinity;
    const onProgress = ({ loss }: { loss: number }) => (last = loss);
    await train(stage, { folder: await makeFolder(), checkpointEvery: 100, onProgress });
    expect(last).toBeLessThan(0.01);
  });
});
