/** Whole checkpoints against Hugging Face's numbers: every tensor of every golden file, and the tokens. */
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { describeEachBackend } from '../support/backends.ts';
import { fixture, golden, hasFixtures } from '../support/golden.ts';
import {
  compareModel,
  compareStories,
  formatParity,
  ownModels,
  sharedModels,
  type Parity,
} from './parity.ts';

const noFixtures = '../shared/fixtures is not beside the checkout';

function expectParity({ comparisons, unread }: Parity, bound: number): void {
  expect(unread, 'expected tensors that nothing was compared with').toEqual([]);
  for (const { name, error, equal } of comparisons) {
    if (error !== undefined) expect(error, `${name}: relative error`).toBeLessThan(bound);
    if (equal !== undefined) expect(equal, `${name}: equal`).toBe(true);
  }
}

describeEachBackend('golden models', () => {
  // Ours are made in float64 but for the softmax and the norms; float32 comes within 2e-6.
  test.each(ownModels)('%s', async (name) => {
    expectParity(await compareModel(golden(name)), 1e-5);
  });

  for (const name of sharedModels) {
    test(name, async (context) => {
      context.skip(!hasFixtures, noFixtures);
      expectParity(await compareModel(fixture(name)), 1e-4);
    });
  }

  test('stories260k writes its stories to the letter', async (context) => {
    context.skip(!hasFixtures, noFixtures);
    const parity = await compareStories(fixture('stories260k'));
    expectParity(parity, 1e-4);
    expect(parity.comparisons).toHaveLength(1 + 3 * 3);
  });

  test('comparing leaves no tensor behind', async () => {
    const before = tf.memory().numTensors;
    await compareModel(golden('llava-layers'));
    await compareModel(golden('clip-model'));
    await compareModel(golden('llama-bias'));
    expect(tf.memory().numTensors).toBe(before);
  });
});

test('a tensor that no comparison reads is reported', () => {
  expect(() => expectParity({ comparisons: [], unread: ['vision.hidden.00'] }, 1)).toThrow(
    'nothing was compared',
  );
  expect(() => expectParity({ comparisons: [{ name: 'x', error: Infinity }], unread: [] }, 1)).toThrow('x');
  expect(() => expectParity({ comparisons: [{ name: 'x', equal: false }], unread: [] }, 1)).toThrow('x');
});

test('the table has a line for each room of a checkpoint', () => {
  const row = { checkpoint: 'tiny', group: 'vision', tensors: 3, worst: 0.00000123 };
  expect(
    formatParity([row, { ...row, group: 'vtc-cls', equal: false }])
      .split('\n')
      .slice(2),
  ).toEqual(['| tiny | vision | 3 | 1.2e-6 |  |', '| tiny | vtc-cls | 3 | 1.2e-6 | NO |']);
});
