/** Methods one after the other. */
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { stages, type MethodOptions } from '../../src/compress/method.ts';
import { findMethod, methods, methodOptions } from '../../src/compress/registry.ts';
import { UserError } from '../../src/errors.ts';
import { followPatches } from '../../src/eval/run/follow.ts';
import { prepare } from '../../src/plan.ts';
import { createTrace } from '../../src/tensor/trace.ts';
import { describeEachBackend } from '../support/backends.ts';
import { runVlm } from '../support/methods.ts';
import { draw, expectNewTensors, seededRandom, tidyEachTest } from '../support/random.ts';
import { tinyClip, tinyLlava } from '../support/tiny.ts';

const P = 16;
const prompts = [{ before: [1, 5], after: [7, 3, 4], question: [1, 2, 7] }];
const stageOf = (name: string) => stages.indexOf(findMethod(name).stages[0]);
const pairs = methods
  .flatMap((a) => methods.map((b): [string, string] => [a.name, b.name]))
  .filter(([a, b]) => a !== 'none' && b !== 'none' && stageOf(a) < stageOf(b));

describeEachBackend('a stack', () => {
  tidyEachTest();

  test.each(pairs)('%s+%s runs, or says why not', async (a, b) => {
    const random = seededRandom(3);
    const model = { ...tinyLlava(random), clip: tinyClip(random) };
    const method = findMethod(`${a}+${b}`);
    const few: MethodOptions = b === 'pyramiddrop' ? { stages: 3 } : {};
    const input = { pixels: tf.tensor4d(draw(random, [1, 9, 9, 3])), prompts };
    const trace = createTrace(() => false);
    const options = { method, methodOptions: { ...method.defaults, ...few }, budget: 4, maxNewTokens: 2 };
    const running = runVlm(model, input, { ...options, trace });
    const needsAll = ['vtc-cls', 'fastervlm', 'hired', 'fopru', 'vispruner', 'hybrid', 'visionzip', 'prumerge', 'prumerge+'].includes(b); // prettier-ignore
    if (a === 'downsample') await expect(running).rejects.toThrow('8 patches are no square picture');
    else if (a === 'tome' && needsAll)
      await expect(running).rejects.toThrow(/of which tome leaves fewer|whole grid/);
    else if (b === 'yopo' || (a === 'tome' && ['uniform', 'pooling'].includes(b))) {
      await expect(running).rejects.toThrow('whole grid');
    } else {
      const { prefillLengths } = await running;
      const [first, last] = [prefillLengths[0] - 5, prefillLengths.at(-1)! - 5];
      expect(first).toBe(stageOf(b) === 2 ? 8 : 4); // the way from 16 to 4 in two equal steps, or all of it
      if (b !== 'vtw') expect(last).toBe(4);
      const [{ kept, made }] = followPatches(trace.matrices.values(), false);
      expect(kept.length + made).toBe(last);
      await expectNewTensors(0, 'a stack', () => runVlm(model, input, options));
    }
  });

  test('three in a row end at the budget, by equal steps, where the last chooses among what the others left', async () => {
    const model = tinyLlava(seededRandom(4));
    const method = findMethod('tome+divprune+fastv');
    const trace = createTrace(() => false);
    const input = { pixels: tf.tensor4d(draw(seededRandom(5), [1, 9, 9, 3])), prompts };
    const { prefillLengths } = await runVlm(model, input, {
      ...{ method, methodOptions: method.defaults, budget: 2, maxNewTokens: 1, trace },
    });
    expect(prefillLengths.map((n) => n - 5)).toEqual([4, 4, 2]); // 16 · (1/8)^(i/3): 8, 4, 2
    const towers = [...trace.matrices].filter(([name]) => name.startsWith('vision.'));
    expect(towers.at(-1)![1].shape[1]).toBe(8);
    expect(trace.matrices.get('compress.matrix')!.shape).toEqual([1, 4, 8]);
    expect(trace.matrices.get('decoder.matrix.02')!.shape).toEqual([1, 2, 4]);
  });
});

test('a name is split at the signs between methods, not at the one of PruMerge+', () => {
  expect(findMethod('prumerge++fastv').summary).toContain('; then between two decoder layers');
  expect(findMethod('prumerge+fastv').summary).not.toContain('spread evenly');
  expect(() => findMethod('vtc-cls+fast')).toThrow('unknown method "vtc-cls+fast"');
  expect(() => findMethod('+')).toThrow('unknown method "+"');
});

test.each([
  ['fastv+vtw', 'fastv and vtw both act between the decoder’s layers; each stage takes one method'],
  ['vtc-cls+random', 'vtc-cls and random both act before the decoder; each stage takes one method'],
  ['fastv+vtc-cls', 'vtc-cls acts before the decoder, before fastv: name it first'],
  ['none+fastv', 'none leaves nothing to stack'],
])('%s is refused', (name, why) => {
  expect(() => findMethod(name)).toThrow(new UserError(`${name}: ${why}`));
});

test('options are those of both, and no two methods that go together share a name but the seed of all chance', () => {
  const method = findMethod('vtc-cls+fastv');
  expect(methodOptions(method, { layers: '2', rows: 'all' })).toEqual({
    ...{ layers: 2, ensemble: 'sum', layer: 2, rows: 'all' },
  });
  for (const pair of pairs) {
    const options = pair.flatMap((name) => Object.keys(findMethod(name).defaults));
    const names = options.filter((name) => name !== 'seed');
    expect(names, pair.join('+')).toEqual([...new Set(names)]);
  }
  expect(methodOptions(findMethod('random+random-in-depth'), { seed: '4' })).toEqual({ seed: 4, layer: 2 });
});

test('kept tokens keep their positions where the first of a stack picks them', () => {
  const { config } = tinyLlava(seededRandom(1));
  const plan = (name: string) => {
    const method = findMethod(name);
    return prepare(config, { method, methodOptions: method.defaults, budget: 4, positions: 'original' });
  };
  expect(plan('vtc-cls+fastv').originalLength).toBe(P);
  expect(() => plan('prumerge+fastv')).toThrow('makes new tokens, which have no position');
});
