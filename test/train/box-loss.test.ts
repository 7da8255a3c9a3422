/** The loss of boxes: against a float64 twin, and its gradient. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { startBackend } from '../../src/backend/start.ts';
import { boxLoss, giouLoss } from '../../src/train/box-loss.ts';
import { registerGradients } from '../../src/train/gradients.ts';
import { overlap } from '../../src/world/overlap.ts';
import { backendsUnderTest } from '../support/backends.ts';
import { checkGradients } from '../support/gradients.ts';
import { giouLossOf } from '../reference/boxes.ts';
import { expectNear, randoms, seededRandom, tidyEachTest, type Random } from '../support/random.ts';

/** Corners in the right order, sides of an eighth and more. */
function drawBox(random: Random): number[] {
  const [x, y] = [0.6 * random(), 0.6 * random()];
  return [x, y, x + 0.125 + (0.8 - x) * random(), y + 0.125 + (0.8 - y) * random()];
}

const drawBoxes = (random: Random, count: number): number[][] =>
  Array.from({ length: count }, () => drawBox(random));

describe.each(['cpu', ...backendsUnderTest.filter((name) => name === 'tensorflow')])('on %s', (backend) => {
  beforeAll(async () => {
    await startBackend(backend);
    registerGradients();
  });
  tidyEachTest();

  test('is 1 − (I/U − (C − U)/C), whichever way round the corners are', () => {
    fc.assert(
      fc.property(randoms, fc.integer({ min: 1, max: 5 }), (random, M) => {
        const truth = drawBoxes(random, M);
        const boxes = Array.from({ length: M }, () => [random(), random(), random(), random()]);
        const expected = boxes.map((box, m) => [giouLossOf(box, truth[m])]);
        expectNear(giouLoss(tf.tensor2d(boxes), tf.tensor2d(truth)), expected, 'GIoU');
        const l1 = boxes.flatMap((box, m) => box.map((x, i) => Math.abs(x - truth[m][i])));
        const mean = (values: number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
        expectNear(
          boxLoss(tf.tensor2d(boxes), tf.tensor2d(truth)),
          10 * mean(l1) + mean(expected.flat()),
          'loss',
        );
      }),
    );
  });

  test('is 0 for the same box, 1 − overlap within one another, and above 1 apart', () => {
    fc.assert(
      fc.property(randoms, (random) => {
        const truth = drawBox(random);
        const [x0, y0, x1, y1] = truth;
        const inside = [x0, y0, (x0 + x1) / 2, y1];
        const apart = [x1 + 0.01, y0, x1 + 0.2, y1];
        const losses = giouLoss(tf.tensor2d([truth, inside, apart]), tf.tensor2d([truth, truth, truth]));
        const [same, half, far] = losses.dataSync();
        expect(same).toBeCloseTo(0, 5);
        expect(half).toBeCloseTo(1 - overlap(inside, truth), 5);
        expect(far).toBeGreaterThan(1);
      }),
    );
  });

  test('has the gradient of finite differences, away from its corners', () => {
    // No two edges alike: min, max and |·| have corners there.
    const truth = tf.tensor2d([[0.2, 0.3, 0.6, 0.8], [0.1, 0.5, 0.3, 0.7], [0.4, 0.2, 0.9, 0.5], [0.1, 0.1, 0.4, 0.3]]); // prettier-ignore
    const boxes = tf.tensor2d([[0.3, 0.4, 0.7, 0.7], [0.5, 0.1, 0.8, 0.4], [0.5, 0.3, 0.7, 0.4], [0.6, 0.5, 0.5, 0.9]]); // prettier-ignore
    const random = seededRandom(1);
    checkGradients(random, { boxes }, (inputs) => giouLoss(inputs.boxes, truth));
    checkGradients(random, { boxes }, (inputs) => boxLoss(inputs.boxes, truth));
  });
});
