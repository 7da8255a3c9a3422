import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import type * as workerThreads from 'node:worker_threads';
import { getThreadsCount } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, expect, test, vi } from 'vitest';
import { createRandom } from '../../src/random.ts';
import { startBackend } from '../../src/backend/start.ts';

const broken = vi.hoisted(() => ({ script: '' }));
vi.mock('node:worker_threads', async (original) => {
  const real = await original<typeof workerThreads>();
  function Worker(script: string, options: object): unknown {
    return new real.Worker(broken.script || script, options);
  }
  return { ...real, Worker };
});

/** A fresh module: the number of threads is read when one starts. */
async function startThreads(threads: string): Promise<number> {
  if (tf.findBackend('wasm')) tf.removeBackend('wasm');
  vi.stubEnv('VTC_CLS_THREADS', threads);
  return (await startBackend('wasm')).threads;
}

afterEach(() => {
  broken.script = '';
  vi.unstubAllEnvs();
});

/** Every kind of op that XNNPACK splits between threads, at sizes that do and do not divide evenly. */
function compute(): Float32Array[] {
  const random = createRandom(7);
  const draw = (rows: number, columns: number) =>
    tf.tensor2d(
      Float32Array.from({ length: rows * columns }, () => random() - 0.5),
      [rows, columns],
    );
  return [1, 50, 197, 310].map((rows) =>
    tf.tidy(() => {
      const product = tf.matMul(draw(rows, 300), draw(300, 257));
      const row = draw(1, 257);
      return tf.softmax(tf.mul(tf.add(product, row), tf.sigmoid(tf.sub(product, row)))).dataSync<'float32'>();
    }),
  );
}

test('more threads compute the bits of one, behind the same guards', async () => {
  expect(await startThreads('1')).toBe(1); // first: TensorFlow.js registers its own start only once
  const expected = compute();
  for (const threads of [2, 3]) {
    expect(await startThreads(String(threads))).toBe(threads);
    expect(getThreadsCount()).toBe(threads);
    expect(compute()).toEqual(expected);
    const { wasm } = tf.backend() as unknown as { wasm: { _malloc(bytes: number): number } };
    expect(() => wasm._malloc(2 ** 32 - 1)).toThrow('heap is full');
  }
});

test('starting and ending touches no listeners and no globals', async () => {
  const mine = (): void => undefined;
  process.on('uncaughtException', mine);
  const before = process.listeners('uncaughtException');
  await startThreads('2');
  await startThreads('2'); // ends the first
  expect(process.listeners('uncaughtException')).toEqual(before);
  expect('Worker' in globalThis).toBe(false);
  process.off('uncaughtException', mine);
});

test('a worker that does not start is the reason given', async () => {
  broken.script = 'throw new Error("no workers here")';
  await expect(startThreads('2')).rejects.toThrow('backend "wasm" does not run: wasm: no workers here');
  broken.script = '';
  expect(await startThreads('2')).toBe(2);
});

test.each(['0', '5', '2.5', 'two', ''])('"%s" threads are refused', async (text) => {
  await expect(startThreads(text)).rejects.toThrow(
    `VTC_CLS_THREADS is "${text}": give a whole number from 1 to 4`,
  );
});

test('a process ends by itself while the workers wait, and prints nothing', async () => {
  const backend = path.join(import.meta.dirname, '../../src/backend/start.ts');
  const script = `
    import { startBackend } from ${JSON.stringify(backend)};
    import * as tf from '@tensorflow/tfjs-core';
    const { threads } = await startBackend('wasm');
    console.log(threads, tf.matMul(tf.ones([300, 600]), tf.ones([600, 300])).dataSync()[0]);`;
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '--eval', script],
    { env: { ...process.env, VTC_CLS_THREADS: '2' }, timeout: 50_000 },
  );
  expect(stdout).toBe('2 600\n');
  expect(stderr).toBe('');
});
