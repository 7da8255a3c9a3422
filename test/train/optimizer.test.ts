import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { startBackend } from '../../src/backend/start.ts';
import { adamw, startOptimizer, type AdamwOptions } from '../../src/train/optimizer.ts';
import { fade, learningRate } from '../../src/train/schedule.ts';
import { golden } from '../support/golden.ts';
import { axis, draw, expectNear, randoms, tidyEachTest } from '../support/random.ts';

const options: AdamwOptions = { beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weightDecay: 0.05, clip: 1 };

/** The formula in float64, weight by weight. */
function twin(weights: number[], gradients: number[][], decays: number[], rate: number): number[] {
  const { beta1, beta2, epsilon, weightDecay, clip } = options;
  const w = [...weights];
  const m = w.map(() => 0);
  const v = w.map(() => 0);
  for (const [t, gradient] of gradients.entries()) {
    const shrink = Math.min(1, clip / (Math.hypot(...gradient) + 1e-6));
    for (const i of w.keys()) {
      const g = gradient[i] * shrink;
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      if (decays[i]) w[i] -= rate * weightDecay * w[i];
      w[i] -= (rate * (m[i] / (1 - beta1 ** (t + 1)))) / (Math.sqrt(v[i] / (1 - beta2 ** (t + 1))) + epsilon);
    }
  }
  return w;
}

describe('the optimizer', () => {
  beforeAll(async () => {
    await startBackend('cpu');
  });
  tidyEachTest();

  test('equals its twin in float64', () => {
    fc.assert(
      fc.property(randoms, axis(9), axis(4), (random, n, steps) => {
        const weights = draw(random, [n], 2);
        const gradients = draw(random, [steps, n], random() < 0.5 ? 3 : 0.1);
        const decays = weights.map(() => Math.round(random()));
        let state = startOptimizer(tf.tensor1d(weights));
        for (const [t, gradient] of gradients.entries()) {
          state = adamw(state, tf.tensor1d(gradient), tf.tensor1d(decays), t + 1, 0.01, options);
        }
        expectNear(state.weights, twin(weights, gradients, decays, 0.01), 'weights');
      }),
    );
  });

  test("equals PyTorch's", () => {
    const { initial, decays, steps } = JSON.parse(
      readFileSync(path.join(golden(''), 'adamw.json'), 'utf8'),
    ) as {
      initial: number[];
      decays: number[];
      steps: { rate: number; gradient: number[]; weights: number[] }[];
    };
    let state = startOptimizer(tf.tensor1d(initial));
    for (const [t, { rate, gradient, weights }] of steps.entries()) {
      state = adamw(state, tf.tensor1d(gradient), tf.tensor1d(decays), t + 1, rate, options);
      expectNear(state.weights, weights, `weights after step ${t + 1}`, 1e-6);
    }
  });
});

describe('the learning rate', () => {
  const pace = { peak: 0.01, warmUp: 5, steps: 105 };

  test('climbs in a straight line, stays up for the first half, is half way down in the middle of the rest, ends near 0', () => {
    expect([0, 1, 4].map((step) => learningRate(step, pace))).toEqual([0.002, 0.004, 0.01]);
    expect(learningRate(5, pace)).toBe(0.01);
    expect(learningRate(52, pace)).toBe(0.01);
    expect(learningRate(78.75, pace)).toBeCloseTo(0.005, 12);
    expect(learningRate(104, pace)).toBeLessThan(1e-5);
  });

  test('never climbs again', () => {
    for (let step = 53; step < 104; step++) {
      expect(learningRate(step + 1, pace)).toBeLessThan(learningRate(step, pace));
    }
  });

  test('a fade is whole before it begins and gone at its end', () => {
    expect([0, 10, 15, 20, 30].map((step) => fade(step, 10, 20))).toEqual([1, 1, 0.5, 0, 0]);
  });
});
