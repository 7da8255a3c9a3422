/** A clip's frames: each by itself, or all as one. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { startBackend } from '../../src/backend/start.ts';
import { countRuns } from '../../src/compress/frames.ts';
import type { Method, Resources } from '../../src/compress/method.ts';
import { findMethod } from '../../src/compress/registry.ts';
import { UserError } from '../../src/errors.ts';
import { prepareAnswer, type ChosenMethod } from '../../src/plan.ts';
import { answer, choose, see } from '../../src/story.ts';
import { matrixOf, meanOf, picking } from '../../src/tensor/token-matrix.ts';
import type { ImagePrompt } from '../../src/text/prompt.ts';
import { axis, draw, seededRandom, type Random } from '../support/random.ts';
import { tinyLlava } from '../support/tiny.ts';

beforeAll(async () => {
  await startBackend('cpu');
});

const prompt = (F: number): ImagePrompt =>
  F === 1
    ? { before: [1], after: [7, 2] }
    : { before: [1], between: Array.from({ length: F - 1 }, () => []), after: [7, 2] };

async function run(name: string, U: number, frames: 'each' | 'all', B: number, F: number, random: Random) {
  const model = tinyLlava(random);
  const { image_size: S } = model.config.vision;
  const method: Method = findMethod(name);
  const chosen: ChosenMethod = { method, methodOptions: method.defaults, budget: U, frames };
  const prompts = Array.from({ length: B }, () => prompt(F));
  const plan = prepareAnswer(model.config, chosen, prompts, { maxNewTokens: 2 });
  const pixels = tf.tensor4d(draw(random, [B * F, S, S, 3]));
  const seen = await see(model, pixels, plan);
  const picture = await choose(model, seen, plan);
  return { model, plan, prompts, pixels, seen, picture };
}

describe('each', () => {
  test('a clip of one frame is a picture', async () => {
    const [one, clip] = [await run('vtc-cls', 5, 'each', 2, 1, seededRandom(4)), await run('vtc-cls', 5, 'all', 2, 1, seededRandom(4))]; // prettier-ignore
    expect(clip.picture.kept).toEqual(one.picture.kept);
    expect(clip.plan.together).toBeUndefined();
  });

  test('a frame keeps what it would keep as a picture by itself', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), axis(2), fc.integer({ min: 2, max: 3 }), async (seed, B, F) => {
        const clip = await run('vtc-cls', 4, 'each', B, F, seededRandom(seed));
        const alone = await run('vtc-cls', 4, 'each', B * F, 1, seededRandom(seed));
        expect(clip.picture.kept).toEqual(alone.picture.kept);
        expect(clip.picture.kept).toHaveLength(B * F);
      }),
      { numRuns: 8 },
    );
  });

  test('between the layers the budget of all frames together is left', async () => {
    const { model, prompts, pixels, plan } = await run('fastv', 3, 'each', 1, 2, seededRandom(3));
    const { prefillLengths, promptTokens } = await answer(model, pixels, prompts, plan, { maxNewTokens: 1 });
    const P = (promptTokens - 3) / 2;
    expect(prefillLengths).toEqual([3 + 2 * P, 3 + 2 * P, 3 + 2 * 3]);
  });
});

test('each frame of a clip is asked its question, all together once', () => {
  const model = tinyLlava(seededRandom(1));
  const given: Resources[] = [];
  const method: Method = {
    ...findMethod('cdpruner'),
    prepare: (_source, _budget, _options, resources) => {
      given.push(resources);
      return {};
    },
  };
  const prompts = [[1, 3], [1, 4]].map((question) => ({ ...prompt(2), question })); // prettier-ignore
  for (const frames of ['each', 'all'] as const) {
    const chosen: ChosenMethod = { method, methodOptions: method.defaults, budget: 4, frames };
    prepareAnswer(model.config, chosen, prompts, { maxNewTokens: 1 });
  }
  expect(given.map(({ questions }) => questions)).toEqual([
    [[1, 3], [1, 3], [1, 4], [1, 4]], // prettier-ignore
    [[1, 3], [1, 4]], // prettier-ignore
  ]);
});

describe('all', () => {
  test('one choice over all patches: the best of them, whichever frame they are of', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), axis(2), fc.integer({ min: 2, max: 3 }), async (seed, B, F) => {
        const U = 5;
        const { picture, seen } = await run('vtc-cls', U, 'all', B, F, seededRandom(seed));
        const P = seen.features.F().shape[1];
        const each = await run('vtc-cls', U, 'each', B, F, seededRandom(seed));
        const scores = each.picture.scores!;
        const tokens = (await seen.features.F().array()).flat();
        for (let b = 0; b < B; b++) {
          const all = scores.slice(b * F, (b + 1) * F).flatMap((row) => [...row]);
          const best = [...all.keys()].sort((p, q) => all[q] - all[p] || p - q).slice(0, U);
          expect(picture.kept![b]).toEqual(best.sort((p, q) => p - q));
          expect((await picture.tokens.array())[b]).toEqual(best.map((p) => tokens[b * F * P + p]));
          const runs = Array.from(
            { length: F },
            (_, f) => best.filter((p) => Math.floor(p / P) === f).length,
          );
          expect(picture.runs![b]).toEqual(runs);
        }
      }),
      { numRuns: 8 },
    );
  });

  test('answers, with as many tokens as were kept', async () => {
    const { model, prompts, pixels, plan } = await run('vtc-cls', 7, 'all', 1, 3, seededRandom(5));
    const { promptTokens, kept } = await answer(model, pixels, prompts, plan, { maxNewTokens: 2 });
    expect(promptTokens).toBe(3 + 7);
    expect(kept![0]).toHaveLength(7);
  });

  test('a token made of patches of several frames is of the first one that it names', () => {
    const W = matrixOf([[meanOf([1, 5]), meanOf([4, 0])]], 6);
    expect(countRuns(W, 2)).toEqual([[1, 1]]);
    expect(countRuns(picking([[0, 2, 3, 5]], 6), 3)).toEqual([[1, 2, 1]]);
  });

  test.each([
    ['tome', '--frames all: tome acts in the tower, which sees one at a time'],
    ['visionzip', '--frames all: visionzip reads more of each by itself than [CLS] attends to'],
    ['pooling', /grid/],
  ])('refuses %s', async (name, message) => {
    const running = run(name, 4, 'all', 1, 2, seededRandom(1));
    await expect(running).rejects.toThrow(UserError);
    await expect(running).rejects.toThrow(message);
  });
});

test('leaves no tensor behind, in either way', async () => {
  for (const frames of ['each', 'all'] as const) {
    const { model, prompts, pixels, plan } = await run('vtc-cls', 6, frames, 1, 2, seededRandom(2));
    const before = tf.memory().numTensors;
    await answer(model, pixels, prompts, plan, { maxNewTokens: 2 });
    expect(tf.memory().numTensors).toBe(before);
  }
});

test('refuses prompts of unlike many pictures, pixels of another number, and places of the uncut picture', async () => {
  const { model, pixels, plan, prompts } = await run('vtc-cls', 4, 'each', 1, 2, seededRandom(1));
  const method = findMethod('vtc-cls');
  const chosen: ChosenMethod = { method, methodOptions: method.defaults, budget: 4 };
  expect(() => prepareAnswer(model.config, chosen, [prompt(2), prompt(3)], { maxNewTokens: 1 })).toThrow(
    new UserError('the prompts of a batch have 2, 3 pictures: they must have equally many'),
  );
  expect(() =>
    prepareAnswer(model.config, { ...chosen, positions: 'original' }, prompts, { maxNewTokens: 1 }),
  ).toThrow(
    // prettier-ignore
    new UserError('--positions original is for one picture, and here are 2'),
  );
  await expect(answer(model, pixels, [prompt(3)], plan, { maxNewTokens: 1 })).rejects.toThrow(
    new UserError('pixels are of 2 pictures, but there are 1 prompts with 3 pictures'),
  );
});
