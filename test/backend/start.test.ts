import * as tf from '@tensorflow/tfjs-core';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { prove } from '../../src/backend/prove.ts';
import { backendNames, startBackend } from '../../src/backend/start.ts';
import { backendTraits } from '../../src/tensor/traits.ts';

const listenersBefore = process.listenerCount('uncaughtException');

describe('startBackend', () => {
  afterEach(() => vi.restoreAllMocks());

  test('auto takes the first in the list that is not rejected, and says why the others were', async () => {
    const { name, rejected } = await startBackend('auto');
    expect(tf.getBackend()).toBe(name);
    expect(rejected.map((backend) => backend.name)).toEqual(
      backendNames.slice(0, backendNames.indexOf(name)),
    );
    for (const { reason } of rejected) expect(reason).not.toBe('');
  });

  test.each(['wasm', 'cpu'])('%s runs when it is asked for, and can be left again', async (name) => {
    expect(await startBackend(name)).toMatchObject({ name, rejected: [] });
    expect(tf.getBackend()).toBe(name);
    expect(backendTraits().fastBatchedMatMul).toBe(name !== 'wasm');
    expect(tf.memory().numTensors).toBe(0);
  });

  test('an unknown name is refused with the known ones', async () => {
    await expect(startBackend('metal')).rejects.toThrow(
      new UserError('unknown backend "metal": choose auto, tensorflow, wasm, cpu, webgpu'),
    );
  });

  test('a backend that computes wrong values is refused by op', async () => {
    await startBackend('cpu');
    vi.spyOn(tf.backend(), 'read').mockResolvedValueOnce(new Float32Array([4, 5, 10, 12]));
    await expect(prove('cpu')).rejects.toThrow(
      'cpu computes matMul wrong: [4, 5, 10, 12] for [4, 5, 10, 11]',
    );
    vi.spyOn(tf.backend(), 'read').mockResolvedValueOnce(new Float32Array([4, NaN, 10, 11]));
    await expect(startBackend('cpu')).rejects.toThrow(
      /^backend "cpu" does not run: cpu: cpu computes matMul wrong/,
    );
  });
});

describe('the wasm heap', () => {
  test('being full is an error, not an address of 0', async () => {
    await startBackend('wasm');
    tf.tidy(() => tf.matMul(tf.ones([3, 3]), tf.ones([3, 3])).dataSync()); // the guard outlives real work
    const { wasm } = tf.backend() as unknown as { wasm: { _malloc(bytes: number): number } };
    expect(() => wasm._malloc(2 ** 32 - 1)).toThrow(
      new UserError(
        "the wasm backend's 4 GiB heap is full (4294967295 bytes more were asked for): use --backend tensorflow",
      ),
    );
  });

  test('starting it leaves no listener for uncaught errors behind', async () => {
    await startBackend('wasm');
    expect(process.listenerCount('uncaughtException')).toBe(listenersBefore);
  });
});
