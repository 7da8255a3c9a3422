import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { project } from '../../src/projector.ts';
import { startBackend } from '../../src/backend/start.ts';
import { foldScale, measureFeatures, standardise, unfoldScale } from '../../src/train/features.ts';
import { createScene } from '../../src/world/scene.ts';
import { axis, draw, expectNear, randoms, seededRandom, tidyEachTest } from '../support/random.ts';
import { tinyProjector } from '../support/tiny.ts';

beforeAll(async () => {
  await startBackend('cpu');
});
tidyEachTest();

test('the folded projector does to plain features what the learned one does to standardised ones', () => {
  fc.assert(
    fc.property(randoms, axis(5), axis(5), fc.constantFrom('linear', 'mlp2x'), (random, inner, out, kind) => {
      const projector = tinyProjector(random, {
        kind: kind as 'linear' | 'mlp2x',
        inner,
        out,
        hidden_act: 'gelu',
        bias: true,
      });
      const features = tf.tensor3d(draw(random, [2, 3, inner], 4));
      const scale = {
        mean: tf.tensor1d(draw(random, [inner], 4)),
        deviation: tf.tensor1d(draw(random, [inner]).map((x) => 1.5 + x)),
      };
      const expected = project(projector, standardise(features, scale));
      const folded = { ...projector, weights: foldScale(projector.weights, scale) };
      expectNear(project(folded, features), expected.arraySync(), 'projected');
      const unfolded = { ...projector, weights: unfoldScale(folded.weights, scale) };
      expectNear(project(unfolded, standardise(features, scale)), expected.arraySync(), 'and back');
    }),
  );
});

test('standardised features have mean 0 and deviation 1 in every channel', () => {
  const random = seededRandom(1);
  const values = draw(random, [7, 4, 3]).map((patches) => patches.map(([a, b, c]) => [a, 5 * b + 2, c - 3]));
  const scenes = values.map((_, index) => createScene('train', index));
  const look = (some: typeof scenes) => tf.tensor3d(some.map((scene) => values[scenes.indexOf(scene)]));
  const scale = measureFeatures(scenes, 7, (some) => look([...some]));
  const standard = standardise(tf.tensor3d(values), scale);
  expectNear(tf.mean(standard, [0, 1]), [0, 0, 0], 'means');
  expectNear(tf.mean(tf.square(standard), [0, 1]), [1, 1, 1], 'variances', 1e-4);
});

test('a channel that never changes is not divided by 0', () => {
  const constant = tf.ones([2, 3, 2]) as tf.Tensor3D;
  const scale = measureFeatures([createScene('train', 0), createScene('train', 1)], 2, () =>
    constant.clone(),
  );
  expect(standardise(constant, scale).dataSync().every(Number.isFinite)).toBe(true);
});
