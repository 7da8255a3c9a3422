/** Storing undoes building: what is written under a leaf's name is what the same leaf would read. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  dense,
  matrix,
  norm,
  scalar,
  storeTree,
  table,
  vector,
  type Leaf,
} from '../../src/io/weight-table.ts';
import { clipVisionTable } from '../../src/vision/weights.ts';
import { describeEachBackend } from '../support/backends.ts';
import {
  axis,
  draw,
  expectNewTensors,
  randoms,
  seededRandom,
  tidyEachTest,
  type Random,
} from '../support/random.ts';
import { randomWeights, tinyVisionConfig } from '../support/tiny.ts';

const sizeOf = ({ shape }: Leaf) => shape.reduce((product, n) => product * n, 1);
const drawValues = (random: Random, leaf: Leaf) => Float32Array.from(draw(random, [sizeOf(leaf)]));

describeEachBackend('storing weights', (backend) => {
  tidyEachTest();

  test('unbuild is the inverse of build, for every kind of leaf', async () => {
    await fc.assert(
      fc.asyncProperty(randoms, axis(9), axis(9), async (random, n, m) => {
        const patches = clipVisionTable({ ...tinyVisionConfig, patch_size: m, hidden_size: n }, '');
        const kernel = patches.patch_embedding.weight; // [n, 3, m, m]
        for (const leaf of [
          scalar('s'),
          vector('v', n),
          table('t', n, m),
          matrix('m', n, m),
          kernel,
        ] as Leaf[]) {
          const values = drawValues(random, leaf);
          expect(await leaf.unbuild(leaf.build(values)), leaf.name).toEqual(values);
        }
      }),
    );
  });

  test('a matrix in blocks is put together again', async () => {
    const leaf = matrix('m', 16384, 130);
    const values = drawValues(seededRandom(1), leaf);
    const built = leaf.build(values);
    expect(Array.isArray(built) ? built.length : 1).toBe(backend === 'wasm' ? 3 : 1);
    expect(Buffer.compare(Buffer.from((await leaf.unbuild(built)).buffer), Buffer.from(values.buffer))).toBe(
      0,
    );
  });

  test('a tree is stored under the names and shapes of the file, the rest left out', async () => {
    const tree = {
      norm: norm('n', 2),
      layers: [dense('l.0', 3, 2), dense('l.1', 2, 1, false)],
      none: undefined,
    };
    const stored = await storeTree(tree, randomWeights(seededRandom(1), tree));
    expect([...stored].map(([name, { shape, data }]) => [name, shape, data.length])).toEqual([
      ['n.weight', [2], 2],
      ['n.bias', [2], 2],
      ['l.0.weight', [2, 3], 6], // [out, in]
      ['l.0.bias', [2], 2],
      ['l.1.weight', [1, 2], 2],
    ]);
  });

  test('storing leaves no tensor behind', async () => {
    const tree = clipVisionTable(tinyVisionConfig, '');
    const weights = randomWeights(seededRandom(1), tree);
    await expectNewTensors(0, 'storeTree', () => storeTree(tree, weights));
    tf.dispose(weights as tf.TensorContainer);
  });
});
