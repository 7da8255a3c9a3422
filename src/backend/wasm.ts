/** The wasm backend: how it starts, with threads or without. */
import { createRequire } from 'node:module';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { cpuModel, labelPackage, type Backend } from './backend.ts';
import { useHostHalf } from './host-half.ts';
import { guardHeap, limits, wasmTraits } from '../tensor/wasm-heap.ts';
import { loadThreadedWasm } from './wasm-threads.ts';

const require = createRequire(import.meta.url);

export const wasm: Backend = {
  name: 'wasm',
  async start() {
    const threads = await startWasm();
    useHostHalf('wasm');
    return {
      device: `CPU (${cpuModel()}), WebAssembly SIMD`,
      version: labelPackage('@tensorflow/tfjs-backend-wasm'),
      threads,
    };
  },
  traits: wasmTraits,
};

let threads: number | undefined;

/**
 * Starts wasm and makes it the current backend.
 *
 * One thread, or as many as the variable `VTC_CLS_THREADS` says at the process's first start. More are for large models
 * on an idle machine: there two threads double the rate of a product. But every op ends when its slowest thread does, so
 * small models, and any on busy cores, lose.
 * @returns how many threads compute
 * @throws UserError when the variable is no number of threads
 */
async function startWasm(): Promise<number> {
  if (threads === undefined || !tf.findBackendFactory('wasm')) {
    const asked = readThreads(process.env['VTC_CLS_THREADS']);
    await register(asked);
    threads = asked;
  }
  await keepListeners(async () => {
    if (!(await tf.setBackend('wasm'))) throw new Error('TensorFlow.js could not initialise it');
  });
  guardHeap();
  return threads;
}

async function register(threads: number): Promise<void> {
  const { BackendWasm, setThreadsCount, setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm');
  setWasmPaths(path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm')) + path.sep);
  if (threads === 1) return; // TensorFlow.js's own way
  const wasm = await loadThreadedWasm(threads);
  setThreadsCount(threads);
  const backend = new BackendWasm(wasm as never);
  for (const worker of wasm.PThread.runningWorkers) worker.unref(); // so that the process can end
  if (tf.findBackendFactory('wasm')) tf.removeBackend('wasm');
  tf.registerBackend('wasm', () => backend);
}

function readThreads(text: string = '1'): number {
  if (!/^[1-9]\d*$/.test(text) || Number(text) > limits.wasmThreads) {
    throw new UserError(`VTC_CLS_THREADS is "${text}": give a whole number from 1 to ${limits.wasmThreads}`);
  }
  return Number(text);
}

/** Emscripten's glue rethrows every uncaught error from its own minified line; take its listeners off again. */
async function keepListeners(start: () => Promise<void>): Promise<void> {
  const events = ['uncaughtException', 'unhandledRejection'];
  const emitter: NodeJS.EventEmitter = process;
  const before = events.map((event) => emitter.listeners(event));
  await start();
  for (const [i, event] of events.entries()) {
    for (const listener of emitter.listeners(event)) {
      if (!before[i].includes(listener)) emitter.removeListener(event, listener as () => void);
    }
  }
}
