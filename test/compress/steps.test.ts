import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ensembleNames, ensembles, rank } from '../../src/compress/ensemble.ts';
import { readPictures } from '../../src/compress/host.ts';
import { none } from '../../src/compress/none.ts';
import { scoreByCls } from '../../src/compress/score.ts';
import { keepTopK } from '../../src/compress/top-k.ts';
import { project } from '../../src/projector.ts';
import { activationNames } from '../../src/tensor/activation.ts';
import { gatherTokens } from '../../src/tensor/gather.ts';
import * as twin from '../reference/compress.ts';
import { project as projectTwin } from '../reference/projector.ts';
import { describeEachBackend } from '../support/backends.ts';
import { runMethod, seenOf } from '../support/methods.ts';
import {
  axis,
  draw,
  expectNear,
  expectNewTensors,
  randoms,
  seededRandom,
  tidyEachTest,
  toArrays,
  type Random,
} from '../support/random.ts';
import { tinyProjector } from '../support/tiny.ts';

const runs = { numRuns: 50 };

/** Scores of few values, so that ties are common. */
const coarse = (random: Random, B: number, P: number): number[][] =>
  draw(random, [B, P]).map((row) => row.map((x) => Math.floor(4 * x) / 4));

const projectors = fc.record({
  kind: fc.constantFrom('linear' as const, 'mlp2x' as const),
  inner: axis(6),
  out: axis(6),
  hidden_act: fc.constantFrom(...activationNames),
  bias: fc.boolean(),
});

const rowOf = (row: number[]) => Float32Array.from(row);

describeEachBackend('the steps of compression', () => {
  tidyEachTest();

  test('the score is the mean over heads', () => {
    fc.assert(
      fc.property(randoms, axis(3), axis(4), axis(9), (random, B, H, P) => {
        const rows = draw(random, [B, H, P]);
        expectNear(scoreByCls(tf.tensor3d(rows)), rows.map(twin.scoreByCls), 'scores');
      }),
      runs,
    );
  });

  test.each(ensembleNames)('ensemble %s equals its twin', (name) => {
    fc.assert(
      fc.property(randoms, axis(4), axis(3), axis(9), (random, K, B, P) => {
        const layers = Array.from({ length: K }, () => coarse(random, B, P));
        const expected = Array.from({ length: B }, (_, b) =>
          twin.ensemble(
            name,
            layers.map((layer) => layer[b]),
          ),
        );
        expectNear(ensembles[name](layers.map((layer) => tf.tensor2d(layer))), expected, name);
      }),
      runs,
    );
  });

  test('rank equals its twin and numbers each row 0 .. P − 1', () => {
    fc.assert(
      fc.property(randoms, axis(3), axis(9), (random, B, P) => {
        const scores = coarse(random, B, P);
        const ranks = rank(tf.tensor2d(scores));
        expectNear(ranks, scores.map(twin.rank), 'ranks', 0);
        for (const row of ranks.arraySync()) expect(row.sort((a, b) => a - b)).toEqual([...row.keys()]);
      }),
      runs,
    );
  });

  test('top-k equals its twin, ties to the lower index, whatever the budget', () => {
    fc.assert(
      fc.property(randoms, axis(3), axis(9), (random, B, P) => {
        const scores = coarse(random, B, P);
        for (let U = 1; U <= P; U++) {
          expect(keepTopK(scores.map(rowOf), U)).toEqual(scores.map((row) => twin.topK(row, U)));
        }
      }),
      runs,
    );
  });

  test('of equal scores the first ones stay', () => {
    const scores = [
      [1, 1, 1, 1],
      [0, 2, 1, 1],
      [-Infinity, -Infinity, 0, -Infinity],
    ];
    expect(keepTopK(scores.map(rowOf), 2)).toEqual([
      [0, 1],
      [1, 2],
      [0, 2],
    ]);
  });

  test('a NaN score is refused with its place, a budget with the bounds', async () => {
    const scores = () =>
      tf.tensor2d([
        [1, 2, 3],
        [4, NaN, 6],
      ]);
    await expect(readPictures('compress.scores', scores)).rejects.toThrow('compress.scores[1, 1] is NaN');
    for (const U of [0, 4, 1.5, NaN]) {
      expect(() => keepTopK([rowOf([1, 2, 3])], U)).toThrow(
        `a budget of ${U} is not between 1 and 3 patches`,
      );
    }
  });

  test('gathering takes each picture its own tokens, in the order given', () => {
    fc.assert(
      fc.property(randoms, axis(3), axis(9), axis(4), axis(9), (random, B, P, D, U) => {
        const tokens = draw(random, [B, P, D]);
        const kept = draw(random, [B, U]).map((row) => row.map((x) => Math.floor(((x + 1) / 2) * P)));
        const picked = gatherTokens(tf.tensor3d(tokens), tf.tensor2d(kept, [B, U], 'int32'));
        expectNear(
          picked,
          kept.map((row, b) => row.map((p) => tokens[b][p])),
          'picked',
          0,
        );
      }),
      runs,
    );
  });

  test('the projector equals its twin', () => {
    fc.assert(
      fc.property(randoms, projectors, axis(3), axis(5), (random, config, B, U) => {
        const projector = tinyProjector(random, config);
        const features = draw(random, [B, U, config.inner]);
        const arrays = toArrays(projector.weights);
        const expected = features.map((item) => projectTwin(arrays, item, config.hidden_act));
        expectNear(project(projector, tf.tensor3d(features)), expected, 'V');
      }),
      runs,
    );
  });

  test('pruning then projecting is projecting then pruning', () => {
    fc.assert(
      fc.property(randoms, projectors, axis(3), axis(9), fc.nat(), (random, config, B, P, budget) => {
        const projector = tinyProjector(random, config);
        const features = tf.tensor3d(draw(random, [B, P, config.inner]));
        const U = 1 + (budget % P);
        const kept = tf.tensor2d(keepTopK(draw(random, [B, P]).map(rowOf), U), [B, U], 'int32');
        const pruned = project(projector, gatherTokens(features, kept));
        expectNear(pruned, gatherTokens(project(projector, features), kept).arraySync(), 'V');
      }),
      runs,
    );
  });

  test('only the results are left in memory', async () => {
    const scores = tf.tensor2d([[1, 3, 2]]);
    const nan = tf.tensor2d([[1, NaN, 2]]);
    const tokens = tf.ones([1, 3, 2]) as tf.Tensor3D;
    const kept = tf.tensor2d([[0, 2]], [1, 2], 'int32');
    const twoItems = tf.tensor2d([[0], [2]], [2, 1], 'int32');
    const projector = tinyProjector(seededRandom(1), {
      kind: 'mlp2x',
      inner: 2,
      out: 3,
      hidden_act: 'gelu',
      bias: true,
    });
    await expectNewTensors(1, 'scoreByCls', () => scoreByCls(tokens));
    await expectNewTensors(0, 'scoreByCls that throws', () => scoreByCls(scores as never), true);
    for (const name of ensembleNames) {
      await expectNewTensors(1, name, () => ensembles[name]([scores, scores]));
      await expectNewTensors(
        0,
        `${name} that throws`,
        () => ensembles[name]([scores, tokens as never]),
        true,
      );
    }
    await expectNewTensors(1, 'rank', () => rank(scores));
    await expectNewTensors(0, 'readPictures', () => readPictures('x', () => tf.neg(scores)));
    await expectNewTensors(0, 'readPictures of NaN', () => readPictures('x', () => tf.neg(nan)), true);
    await expectNewTensors(1, 'gatherTokens', () => gatherTokens(tokens, kept));
    await expectNewTensors(0, 'gatherTokens that throws', () => gatherTokens(tokens, twoItems), true);
    const wide = tf.ones([1, 3, 4]) as tf.Tensor3D;
    await expectNewTensors(1, 'project', () => project(projector, tokens));
    await expectNewTensors(0, 'project that throws', () => project(projector, wide), true);
    await expectNewTensors(1, 'none', () => runMethod(none, seenOf(tokens), 1));
  });
});
