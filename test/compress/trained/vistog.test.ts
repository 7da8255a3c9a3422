/** VisToG: tokens beside the tower's, and the groups that patches join. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { standardise, withWeights } from '../../../src/compress/trained/system.ts';
import {
  compareGroups,
  groupCounts,
  mergeGroups,
  vistog,
  type VistogWeights,
} from '../../../src/compress/trained/vistog.ts';
import { UserError } from '../../../src/errors.ts';
import { describeSource, prepare } from '../../../src/plan.ts';
import { choose, see } from '../../../src/story.ts';
import { assignStraight } from '../../../src/train/systems/vistog.ts';
import { runBeside } from '../../../src/vision/beside.ts';
import { clipBlock } from '../../../src/vision/block.ts';
import { runClipVision } from '../../../src/vision/clip.ts';
import { MASKED } from '../../../src/tensor/attention.ts';
import { layerNorm } from '../../../src/tensor/norm.ts';
import * as twin from '../../reference/ops.ts';
import { describeEachBackend } from '../../support/backends.ts';
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
} from '../../support/random.ts';
import { randomWeights, tinyLlava, tinyVision, tinyVisionConfig } from '../../support/tiny.ts';

/** 5 × 5 patches: of a smaller picture there are not enough for 25 groups. */
const vision = { ...tinyVisionConfig, image_size: 10, patch_size: 2 };

function drawModel(random: Random) {
  const model = tinyLlava(random, { vision });
  const weights: VistogWeights = randomWeights(random, vistog.table(model.config));
  const method = withWeights(vistog, { weights, model: model.config });
  const pixels = tf.tensor4d(draw(random, [2, 10, 10, 3]));
  return { model, weights, method, pixels };
}

describeEachBackend('vistog', () => {
  tidyEachTest();

  test('tokens beside the tower’s are those of one sequence under the isolated mask, and patches stay as they are', () => {
    fc.assert(
      fc.property(randoms, axis(2), axis(5), (random, B, U) => {
        const tower = tinyVision(random);
        const { config, weights } = tower;
        const [L, S, D] = [config.num_hidden_layers, config.image_size, config.hidden_size];
        const pixels = tf.tensor4d(draw(random, [B, S, S, 3]));
        const tokens = tf.tensor2d(draw(random, [U, D]));
        const { hidden } = runClipVision(tower, pixels, { hidden: [...Array(L + 1).keys()] });
        const N = hidden.get(0)!.shape[1];
        const isolated = Array.from({ length: N + U }, (_, i) =>
          Array.from({ length: N + U }, (_, j) => (i < N && j >= N ? MASKED : 0)),
        );
        const normed = layerNorm(weights.pre_layrnorm!, tf.reshape(tokens, [1, U, D]), config.layer_norm_eps);
        let all = tf.concat([hidden.get(0)!, tf.tile(normed, [B, 1, 1])], 1) as tf.Tensor3D;
        for (let l = 0; l < L; l++) {
          all = clipBlock(weights.layers[l], all, config, { mask: tf.tensor2d(isolated) }).hidden;
          expectNear(
            tf.slice(all, [0, 0, 0], [B, N, D]),
            hidden.get(l + 1)!.arraySync(),
            `patches after ${l}`,
          );
          const beside = runBeside(tower, hidden, tokens, l + 1);
          expectNear(beside, tf.slice(all, [0, N, 0], [B, U, D]).arraySync(), `tokens after ${l}`);
        }
      }),
      { numRuns: 10 },
    );
  });

  test('every patch is in one group, and there are U; F is bit for bit what it is without', async () => {
    for (const U of groupCounts) {
      const { model, method, pixels } = drawModel(seededRandom(U));
      const plan = prepare(model.config, { method, methodOptions: {}, budget: U });
      const [seen, plain] = [await see(model, pixels, plan), await see(model, pixels, { needs: {} })];
      expect(seen.features.F().arraySync()).toEqual(plain.features.F().arraySync());
      const { W, tokens, kept } = await choose(model, seen, plan);
      expect(W.shape).toEqual([2, U, 25]);
      for (const rows of W.rows) {
        expect(rows.flatMap((row) => [...row.keys()]).sort((a, b) => a - b)).toEqual([...Array(25).keys()]);
        for (const row of rows) expect([...row.values()].every((x) => x === 1 / row.size)).toBe(true);
      }
      expect({ shape: tokens.shape, kept }).toEqual({ shape: [2, U, vision.hidden_size], kept: undefined });
      expect(plan.brings!.decoder!.weights).not.toBe(model.decoder.weights);
    }
  });

  test('the tokens are the float64 twin’s', async () => {
    const { model, weights, method, pixels } = drawModel(seededRandom(3));
    const plan = prepare(model.config, { method, methodOptions: {}, budget: 13 });
    const seen = await see(model, pixels, plan);
    const { tokens, W } = await choose(model, seen, plan);
    const beside = runBeside(model.vision, seen.hidden, weights.tokens[13], seen.hidden.size);
    const g = standardise(beside, weights.scale).arraySync();
    const own = toArrays(weights.grouping);
    const F = standardise(seen.features.F(), weights.scale).arraySync();
    const expected = F.map((patches, b) => {
      const normed = twin.layerNorm(patches, own.norm_patches, 1e-5);
      const [queries, keys] = [
        twin.linear(twin.layerNorm(g[b], own.norm_tokens, 1e-5), own.query),
        twin.linear(normed, own.key),
      ];
      const group = keys.map((key) => {
        const z = queries.map((query) => twin.dot(query, key));
        return z.indexOf(Math.max(...z));
      });
      const values = twin.linear(normed, own.value);
      expect(W.rows[b].map((row) => [...row.keys()])).toEqual(
        queries.map((_, u) => [...group.keys()].filter((p) => group[p] === u)),
      );
      const means = queries.map((_, u) => {
        const members = values.filter((_, p) => group[p] === u);
        return values[0].map((_, d) => (members.length > 0 ? twin.mean(members.map((row) => row[d])) : 0));
      });
      const t = twin.addRows(g[b], twin.linear(means, own.out));
      const inner = twin.activate(twin.linear(twin.layerNorm(t, own.norm_mlp, 1e-5), own.fc1), 'gelu');
      return twin.addRows(t, twin.linear(inner, own.fc2));
    });
    expectNear(tokens, expected, 'tokens');
  });

  test('forward, the straight-through choice is the one-hot mean of inference', () => {
    const { weights } = drawModel(seededRandom(4));
    const random = seededRandom(5);
    const [g, F] = [tf.tensor3d(draw(random, [2, 4, 6])), tf.tensor3d(draw(random, [2, 9, 6]))];
    const z = compareGroups(weights.grouping, g, F);
    const W = assignStraight(z).arraySync();
    for (const [b, picture] of z.arraySync().entries()) {
      for (let p = 0; p < 9; p++) {
        const best = picture.map((row) => row[p]).indexOf(Math.max(...picture.map((row) => row[p])));
        expect(W[b].flatMap((row, u) => (row[p] > 0 ? [u] : []))).toEqual([best]);
      }
      for (const row of W[b].filter((row) => row.some((x) => x > 0))) expect(twin.sum(row)).toBeCloseTo(1, 6);
    }
    expect(mergeGroups(weights.grouping, g, F, assignStraight(z)).shape).toEqual([2, 4, 6]);
  });

  test('leaves nothing behind, and refuses other budgets and joined layers', async () => {
    const { model, method, pixels } = drawModel(seededRandom(6));
    const plan = prepare(model.config, { method, methodOptions: {}, budget: 13 });
    const seen = await see(model, pixels, plan);
    await expectNewTensors(1, 'choose', () => choose(model, seen, plan)); // the tokens
    const source = describeSource(model.config);
    expect(() => method.prepare(source, 12, {}, {})).toThrow(
      new UserError('vistog: a budget of 12; it has semantic tokens for 13 or 25'),
    );
    expect(() => method.prepare({ ...source, featureLayers: [1, 3] }, 13, {}, {})).toThrow(
      'this model joins 2',
    );
  });
});
