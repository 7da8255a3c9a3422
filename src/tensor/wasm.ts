/** The wasm backend: how it starts, with threads or without, and the guards around its heap. */
import { createRequire } from 'node:module';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { requireHostMemory } from './host-memory.ts';
import { loadThreadedWasm, type WasmModule } from './wasm-threads.ts';

const require = createRequire(import.meta.url);

const GiB = 1024 ** 3;

/** The bounds this project sets itself, by name. */
export const limits = {
  /** wasm's heap ends at 4 GiB; the last part stays free for what is not counted below. */
  wasmHeapBytes: 3.75 * GiB,
  /** Every matrix that multiplies from the right keeps a second, packed copy in wasm's heap. */
  wasmCopiesPerWeight: 2,
  /** Past this size of wasm's heap every allocation checks that a packed matrix would still fit beside it. */
  wasmWatchBytes: 3 * GiB,
  /** More threads than this no product here is large enough for. */
  wasmThreads: 4,
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
export async function startWasm(): Promise<number> {
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

/** Bytes that XNNPACK may ask for behind our back: the packed copy of the largest matrix loaded so far. */
let largestMatrix = 64 * 1024 ** 2;

/**
 * Refuses a model that will not fit in the backend's memory, before it is loaded: on wasm running out is silent and
 * overwrites earlier tensors, or computes garbage; elsewhere the kernel ends the process.
 * @param matrices float32 bytes of each matrix that will be multiplied by
 * @param otherBytes float32 bytes of the other weights
 * @param what the sentence's subject, e.g. the model's folder
 * @throws UserError with the numbers
 */
export function requireMemory(matrices: readonly number[], otherBytes: number, what: string): void {
  const largest = matrices.reduce((most, bytes) => Math.max(most, bytes), 0);
  const weightBytes = matrices.reduce((sum, bytes) => sum + bytes, 0);
  if (tf.getBackend() !== 'wasm') return requireHostMemory(weightBytes + otherBytes, largest, what);
  largestMatrix = Math.max(largest, largestMatrix);
  const needed = limits.wasmCopiesPerWeight * (weightBytes + tf.memory().numBytes) + otherBytes;
  if (needed > limits.wasmHeapBytes) {
    const gib = (bytes: number) => `${(bytes / GiB).toFixed(2)} GiB`;
    throw new UserError(
      `${what} needs about ${gib(needed)} on the wasm backend ` +
        `(${gib(weightBytes)} of float32 weights, each with a packed copy), ` +
        `whose heap holds ${gib(limits.wasmHeapBytes)}: use --backend tensorflow`,
    );
  }
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

const guardedModules = new WeakSet<WasmModule>();

/**
 * wasm's malloc answers 0 when the heap is full: TensorFlow.js then writes there, and XNNPACK's own allocations, which
 * cannot be watched, make it return without computing. Make the first an error, and the second too by keeping room.
 */
function guardHeap(): void {
  const { wasm } = tf.backend() as unknown as { wasm: WasmModule };
  if (guardedModules.has(wasm)) return;
  guardedModules.add(wasm);
  wasm._free(wasm._malloc(8)); // Emscripten's first call puts the real function in its stub's place
  const malloc = wasm._malloc;
  const hasRoom = (bytes: number) => {
    const address = malloc(bytes);
    if (address !== 0) wasm._free(address);
    return address !== 0;
  };
  wasm._malloc = (bytes) => {
    const address = malloc(bytes);
    if (
      bytes > 0 &&
      (address === 0 || (wasm.HEAPU8.length > limits.wasmWatchBytes && !hasRoom(largestMatrix)))
    ) {
      if (address !== 0) wasm._free(address);
      throw new UserError(
        `the wasm backend's 4 GiB heap is full (${bytes} bytes more were asked for): use --backend tensorflow`,
      );
    }
    return address;
  };
}
