/** Loading a tree from a file: whatever the format and the backend, the tensors hold the file's values. */
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { createRandom } from '../../src/random.ts';
import { UserError } from '../../src/errors.ts';
import { loadTree } from '../../src/io/load-tree.ts';
import { openSafetensors, writeSafetensors } from '../../src/node/safetensors.ts';
import type { TensorToWrite } from '../../src/io/safetensors.ts';
import {
  dense,
  leavesOf,
  matrix,
  norm,
  storeTree,
  table,
  type TensorSource,
} from '../../src/io/weight-table.ts';
import { describeEachBackend } from '../support/backends.ts';
import { makeFolder } from './helpers.ts';

const dir = makeFolder();

/** Large leaves before, between and after small ones. */
const tree = {
  embedding: table('embedding', 7, 8),
  layers: [
    { norm: norm('0.norm', 8), up: dense('0.up', 8, 33), down: dense('0.down', 33, 8) },
    { norm: norm('1.norm', 8), up: dense('1.up', 8, 5, false), down: dense('1.down', 5, 8) },
  ],
  head: matrix('head', 8, 7, false),
};

async function openTree(dtypes: readonly ('F32' | 'BF16' | 'F16' | 'F64')[], name: string) {
  const random = createRandom(7);
  const tensors = leavesOf(tree).map(({ name: tensor, shape }, i): [string, TensorToWrite] => {
    const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random() - 0.5);
    return [tensor, { dtype: dtypes[i % dtypes.length], shape, data }];
  });
  const path = join(dir, name);
  await writeSafetensors(path, new Map(tensors));
  const file = await openSafetensors(path);
  const source: Required<TensorSource> = { ...file, dir };
  return { file, source };
}

describeEachBackend('loading', (backend) => {
  test.each([[['BF16']], [['F16']], [['F32']], [['F64']], [['F32', 'BF16', 'F64', 'F16', 'BF16']]] as const)(
    '%j',
    async (dtypes) => {
      const { file, source } = await openTree(dtypes, `${dtypes.join('-')}.safetensors`);
      const seen: string[] = [];
      const weights = await loadTree(source, tree, ({ name }) => seen.push(name));
      const stored = await storeTree(tree, weights);
      tf.dispose(weights as unknown as tf.TensorContainer);
      expect(seen.sort()).toEqual(
        leavesOf(tree)
          .map(({ name }) => name)
          .sort(),
      );
      for (const name of seen) expect(stored.get(name)!.data, name).toEqual(await file.readFloat32(name));
      await file.close();
    },
  );

  test('the largest come first, each is read once, and at most one ahead', async () => {
    const { file, source } = await openTree(['BF16'], 'ahead.safetensors');
    const read: string[] = [];
    const noting: TensorSource = {
      ...source,
      readFloat32: (name) => (read.push(name), source.readFloat32(name)),
      readRaw: (name, into) => (read.push(name), source.readRaw(name, into)),
    };
    const sizes: number[] = [];
    const ahead: number[] = [];
    const weights = await loadTree(noting, tree, ({ shape }) => {
      sizes.push(shape.reduce((a, b) => a * b, 1));
      ahead.push(read.length - sizes.length);
    });
    tf.dispose(weights as unknown as tf.TensorContainer);
    await file.close();
    const names = leavesOf(tree).map(({ name }) => name);
    expect(read.sort()).toEqual(names.sort());
    expect(sizes).toEqual([...sizes].sort((a, b) => b - a));
    expect(Math.max(...ahead)).toBe(backend === 'tensorflow' ? 1 : 0);
  });

  describe('a file that breaks off', () => {
    test.each(leavesOf(tree).map(({ name }) => name))('at %s leaves nothing', async (broken) => {
      const { file, source } = await openTree(['BF16'], 'broken.safetensors');
      const fail = (name: string) =>
        name === broken ? Promise.reject(new UserError(`${name} broke off`)) : undefined;
      const before = tf.memory().numTensors;
      const loading = loadTree(
        {
          ...source,
          readFloat32: (name) => fail(name) ?? source.readFloat32(name),
          readRaw: (name, into) => fail(name) ?? source.readRaw(name, into),
        },
        tree,
      );
      await expect(loading).rejects.toThrow(new UserError(`${broken} broke off`));
      expect(tf.memory().numTensors).toBe(before);
      await file.close();
    });
  });
});
