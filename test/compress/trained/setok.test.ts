/** SeTok: clusters, and the transformers that make a token of each. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  mergeClusters,
  placePatches,
  setok,
  type SetokWeights,
} from '../../../src/compress/trained/setok.ts';
import { withWeights } from '../../../src/compress/trained/system.ts';
import { UserError } from '../../../src/errors.ts';
import { describeSource, prepare } from '../../../src/plan.ts';
import { choose, see } from '../../../src/story.ts';
import { denseOf, matrixOf, meanOf } from '../../../src/tensor/token-matrix.ts';
import * as heads from '../../reference/attention.ts';
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
import { randomWeights, tinyLlava } from '../../support/tiny.ts';

function drawModel(random: Random) {
  const model = tinyLlava(random);
  const weights: SetokWeights = randomWeights(random, setok.table(model.config));
  const method = withWeights(setok, { weights, model: model.config });
  const S = model.config.vision.image_size;
  return { model, weights, method, pixels: tf.tensor4d(draw(random, [1, S, S, 3])) };
}

type Encoder = ReturnType<typeof toArrays<SetokWeights['merger']['inner']>>;

/** A cluster's patches by themselves, without any mask. */
function encode({ norm1, attention, norm2, fc1, fc2 }: Encoder, x: twin.Matrix): twin.Matrix {
  const D = x[0].length;
  for (const { qkv, proj } of attention) {
    const all = twin.linear(twin.layerNorm(x, norm1, 1e-5), qkv);
    const [q, k, v] = [0, D, 2 * D].map((from) => heads.splitHeads(all.map((row) => row.slice(from, from + D)), 2)); // prettier-ignore
    x = twin.addRows(x, twin.linear(heads.mergeHeads(heads.attend(q, k, v).context), proj));
  }
  const inner = twin.activate(twin.linear(twin.layerNorm(x, norm2, 1e-5), fc1), 'gelu');
  return twin.addRows(x, twin.linear(inner, fc2));
}

describeEachBackend('setok', () => {
  tidyEachTest();

  test('all clusters at once under a mask are each cluster by itself, in float64', () => {
    fc.assert(
      fc.property(randoms, axis(2), axis(7), fc.nat(), (random, B, P, n) => {
        const { weights } = drawModel(random);
        const D = 6;
        const U = 1 + (n % P);
        const x = tf.tensor3d(draw(random, [B, P, D]));
        const clusters = Array.from({ length: B }, () => {
          const label = Array.from({ length: P }, (_, p) => (p < U ? p : Math.floor(random() * U)));
          return Array.from({ length: U }, (_, u) => label.flatMap((own, p) => (own === u ? [p] : [])));
        });
        const W = matrixOf(clusters.map((groups) => groups.map(meanOf)), P); // prettier-ignore
        const { inner, inter, out } = toArrays(weights.merger);
        const expected = x.arraySync().map((patches, b) => {
          const pooled = clusters[b].map((group) => {
            const y = encode(inner, group.map((p) => patches[p])); // prettier-ignore
            return y[0].map((_, d) => twin.mean(y.map((row) => row[d])));
          });
          return twin.linear(encode(inter, pooled), out);
        });
        expectNear(mergeClusters(weights.merger, x, denseOf(W)), expected, 'tokens', 5e-5);
      }),
      { numRuns: 12 },
    );
  });

  test('a patch’s place is sines and cosines of its row, then of its column', () => {
    for (const D of [6, 8]) {
      const c = 2 * Math.ceil(D / 4);
      const zeros = tf.zeros<tf.Rank.R3>([1, 4, D]);
      const expected = [0, 1, 3, 5].map((p) => {
        const [row, column] = [Math.floor(p / 3), p % 3];
        const half = (at: number) =>
          Array.from({ length: c / 2 }, (_, i) => at / 10000 ** ((2 * i) / c)).flatMap((a) => [
            Math.sin(a),
            Math.cos(a),
          ]);
        return [...half(row), ...half(column)].slice(0, D);
      });
      expectNear(placePatches(zeros, [0, 1, 3, 5], 3), [expected], 'places');
    }
  });

  test('U clusters share out all patches; with a threshold the picture says how many there are', async () => {
    const { model, method, pixels } = drawModel(seededRandom(2));
    const count = async (budget: number, threshold: number) => {
      const plan = prepare(model.config, { method, methodOptions: { neighbours: 5, threshold }, budget });
      const { W, tokens } = await choose(model, await see(model, pixels, plan), plan);
      const patches = W.rows[0].flatMap((row) => [...row.keys()]).sort((a, b) => a - b);
      expect(patches).toEqual([...Array(16).keys()]);
      expect(tokens.shape).toEqual([1, W.shape[1], 6]);
      return W.shape[1];
    };
    for (const U of [1, 5, 16]) expect(await count(U, 0)).toBe(U);
    const dynamic = [1e-12, 0.1, 0.2, 0.3].map((threshold) => count(7, threshold));
    const counts = await Promise.all(dynamic);
    expect(counts).toEqual(counts.toSorted((a, b) => b - a)); // the higher, the fewer
    expect(new Set(counts).size).toBeGreaterThan(1);
    expect(counts[0]).toBeGreaterThan(7); // whatever U is
    expect(await count(7, 1e6)).toBe(7); // none passes: U
  });

  test('leaves nothing behind, and refuses what it cannot serve', async () => {
    const { model, method, pixels } = drawModel(seededRandom(6));
    const plan = prepare(model.config, { method, methodOptions: method.defaults, budget: 5 });
    const seen = await see(model, pixels, plan);
    seen.features.F(); // made now, it stays the features'
    await expectNewTensors(1, 'choose', () => choose(model, seen, plan)); // the tokens
    const source = describeSource(model.config);
    const prepareWith = (options: object, changes: object = {}) =>
      method.prepare({ ...source, ...changes }, 5, { ...method.defaults, ...options }, {});
    expect(() => prepareWith({ threshold: -1 })).toThrow(new UserError('setok: threshold=-1 is below 0'));
    expect(() => prepareWith({ neighbours: 0 })).toThrow('setok: neighbours=0 is not');
    expect(() => prepareWith({}, { grid: undefined })).toThrow('setok: it needs the whole grid of patches');
    expect(() => prepareWith({}, { featureLayers: [1, 3] })).toThrow('this model joins 2');
    const many = tf.tensor4d(draw(seededRandom(9), [8, ...pixels.shape.slice(1)]));
    const varying = prepare(model.config, {
      method,
      methodOptions: { neighbours: 5, threshold: 0.2 },
      budget: 5,
    });
    const both = await see(model, many, varying);
    await expect(choose(model, both, varying)).rejects.toThrow(
      /^setok: the pictures of a batch have \d+, [\d, ]+ clusters/,
    );
  });
});
