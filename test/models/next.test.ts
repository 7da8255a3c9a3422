/** LLaVA-NeXT against Hugging Face: pixels of every view to the last bit, packed prompts' logits, and what is pruned view by view. */
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Model } from '../../src/checkpoint/load.ts';
import type { MethodOptions } from '../../src/compress/method.ts';
import { findMethod, methods } from '../../src/compress/registry.ts';
import { UserError } from '../../src/errors.ts';
import { cutPrompt, viewsOfPicture, type LoadedPicture } from '../../src/inputs.ts';
import { countPatches, type Views } from '../../src/image/views.ts';
import { loadModel } from '../../src/node/checkpoint.ts';
import { readPicture } from '../../src/node/inputs.ts';
import { prepareAnswer } from '../../src/plan.ts';
import { answer } from '../../src/story.ts';
import { scope } from '../../src/tensor/scope.ts';
import { createTrace } from '../../src/tensor/trace.ts';
import { describeEachBackend } from '../support/backends.ts';
import { golden, readExpected, readRelativeError, type Expected } from '../support/golden.ts';

const S = 24;
const pictureFile = (i: number) => path.join(golden('llava-next-vicuna'), `${i}.png`);

describeEachBackend('LLaVA-NeXT', () => {
  const held = new Map<string, { model: Model; expected: Expected }>();
  beforeAll(async () => {
    for (const name of ['llava-next-vicuna', 'llava-next-mistral']) {
      const expected = await readExpected(path.join(golden(name), 'expected.safetensors'));
      held.set(name, { model: await loadModel(golden(name)), expected });
    }
  });
  afterAll(async () => {
    for (const { model, expected } of held.values()) {
      model.dispose();
      await expected.close();
    }
  });

  /** A picture, how it is seen, and its prompt. */
  async function take(name: string, i: number) {
    const { model, expected } = held.get(name)!;
    const { config } = model.llava!;
    const picture = await readPicture(pictureFile(i), golden(name), S);
    const views = viewsOfPicture(config, picture)!;
    const [ids] = await expected.ints(`${i}.ids`);
    return { picture, views, prompts: [cutPrompt(ids, config, 'the prompt', { views })] };
  }

  async function ask(
    name: string,
    {
      picture,
      views,
      prompts,
    }: { picture: LoadedPicture; views: Views; prompts: ReturnType<typeof cutPrompt>[] },
    [method, methodOptions, budget]: [string, MethodOptions, number],
    maxNewTokens = 12,
  ) {
    using own = scope();
    const { llava } = held.get(name)!.model;
    const found = findMethod(method);
    const chosen = { method: found, methodOptions: { ...found.defaults, ...methodOptions }, budget, views };
    const plan = prepareAnswer(llava!.config, chosen, prompts, { maxNewTokens });
    const trace = own(createTrace((step) => step === 'decoder.logits'));
    const answered = await answer(llava!, picture.pixels, prompts, plan, { maxNewTokens, trace });
    const logits = own(tf.clone(trace.tensors.get('decoder.logits')!));
    return own.keep({ ...answered, logits });
  }

  test.each([
    ['llava-next-vicuna', 0],
    ['llava-next-vicuna', 1],
    ['llava-next-vicuna', 2],
    ['llava-next-mistral', 0],
    ['llava-next-mistral', 1],
    ['llava-next-mistral', 2],
  ])('%s, picture %i', async (name, i) => {
    using own = scope();
    const { expected } = held.get(name)!;
    const taken = await take(name, i);
    own(taken.picture.pixels);
    const pixels = own(tf.transpose(own(await expected.float(`${i}.pixels`)), [0, 2, 3, 1]));
    expect(taken.picture.values).toEqual(await pixels.data());

    const whole = await ask(name, taken, ['none', {}, 16]);
    own(whole.logits);
    expect(whole.promptTokens).toBe(whole.logits.shape[1]);
    expect(await readRelativeError(whole.logits, own(await expected.float(`${i}.logits`)))).toBeLessThan(
      1e-5,
    );
    expect(whole.tokens).toEqual(await expected.ints(`${i}.tokens`));

    const pruned = await ask(name, taken, ['vtc-cls', { layers: 2, ensemble: 'sum' }, 3]);
    own(pruned.logits);
    expect(pruned.kept).toEqual(await expected.ints(`${i}.kept`));
    expect(
      await readRelativeError(pruned.logits, own(await expected.float(`${i}.kept-logits`))),
    ).toBeLessThan(1e-5);
    expect(pruned.tokens).toEqual(await expected.ints(`${i}.kept-tokens`));
  });

  test('every method keeps its budget, a newline a row, or says why it cannot', async () => {
    const name = 'llava-next-vicuna';
    const taken = await take(name, 0);
    const { views } = taken;
    const V = views.views.length;
    const [ids] = await held.get(name)!.expected.ints('0.ids');
    const text = ids.filter((id) => id !== 119).length;
    const refused: string[] = [];
    for (const method of methods.filter(({ resources = [] }) => resources.length === 0)) {
      try {
        const { promptTokens, logits, kept } = await ask(name, taken, [method.name, {}, 5], 1);
        logits.dispose();
        const before = method.stages[0] === 'before';
        const all = countPatches(views);
        const visual = before && method.name !== 'none' ? Math.min(5 * V, all) : all;
        expect(promptTokens, method.name).toBeLessThanOrEqual(text + visual + views.rows);
        if (kept) expect(kept[0].length + text + views.rows, method.name).toBe(promptTokens);
      } catch (error) {
        if (!(error instanceof UserError))
          throw new Error(`${method.name}: ${String(error)}`, { cause: error });
        expect(error.message).toContain(method.name);
        refused.push(method.name);
      }
    }
    taken.picture.pixels.dispose();
    expect(refused).not.toEqual(
      expect.arrayContaining(['vtc-cls', 'hired', 'divprune', 'random', 'fastv', 'none']),
    );
  });

  test('hired shares the budget out by what the thumbnail attends to', async () => {
    const name = 'llava-next-mistral';
    const taken = await take(name, 2);
    const perView = async (thumbnail: number) => {
      const { kept, logits } = await ask(name, taken, ['hired', { thumbnail }, 3], 1);
      logits.dispose();
      return taken.views.views.map(({ places }) => kept![0].filter((place) => places.includes(place)).length);
    };
    const [half, none] = [await perView(0.5), await perView(0)];
    taken.picture.pixels.dispose();
    const sum = (counts: number[]) => counts.reduce((a, b) => a + b, 0);
    expect(sum(half)).toBe(3 * taken.views.views.length);
    expect(sum(none)).toBe(sum(half));
    expect(none[0]).toBe(0);
    expect(half[0]).toBeGreaterThan(Math.max(...half.slice(1)));
    expect(new Set(half.slice(1)).size).toBeGreaterThan(1); // not in equal shares
  });
});
