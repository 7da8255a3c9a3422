/** F and [CLS] of what a checkpoint selects, and a tower that has no [CLS]. */
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { selectFeatures } from '../../src/vision/select.ts';
import { describeEachBackend } from '../support/backends.ts';
import { expectNewTensors, tidyEachTest } from '../support/random.ts';

describeEachBackend('selected features', () => {
  tidyEachTest();
  const states = () =>
    new Map([0, 1, 2].map((l) => [l, tf.tensor3d([[[10 * l], [10 * l + 1], [10 * l + 2]]])]));

  test('are the patches, and [CLS] apart; of several layers side by side, in the order named', async () => {
    const { F, cls } = selectFeatures(states(), [2, 0], 1);
    expect(F.arraySync()).toEqual([[[21, 1], [22, 2]]]); // prettier-ignore
    expect(cls!.arraySync()).toEqual([[[20, 0]]]);
    const hidden = states();
    await expectNewTensors(2, 'F and [CLS]', () => selectFeatures(hidden, [1], 1));
  });

  test('of a tower without [CLS] are all of its tokens', async () => {
    const hidden = states();
    const { F, cls } = selectFeatures(hidden, [1], 0);
    expect(F.arraySync()).toEqual([[[10], [11], [12]]]);
    expect(cls).toBeUndefined();
    await expectNewTensors(1, 'F', () => selectFeatures(hidden, [1], 0));
  });
});
