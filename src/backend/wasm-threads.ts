/**
 * TensorFlow.js's WebAssembly module with threads. TensorFlow.js has them in the browser and switches them off in Node,
 * where Emscripten's loader would start its workers from blob: URLs, which Node's Worker does not take. The loader is a
 * plain script that finds everything it touches by name, so here it runs with names of our own, and nothing outside it
 * changes.
 */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { compileFunction } from 'node:vm';
import { Worker } from 'node:worker_threads';
import type { WasmHeap } from '../tensor/wasm-heap.ts';

/** What is used here, and by BackendWasm, of Emscripten's module. */
export interface WasmModule extends WasmHeap {
  tfjs: Record<string, unknown>;
  PThread: { runningWorkers: Worker[] };
  /** `_name` for each function that C exports. */
  [name: `_${string}`]: unknown;
}

type Loader = (options: { locateFile(file: string): string }) => Promise<WasmModule>;

const require = createRequire(import.meta.url);

/**
 * Instantiates the threaded module, with as many workers as it needs beside the calling thread.
 * @param threads at least 2
 * @throws Error when a worker does not start; the others are ended
 */
export async function loadThreadedWasm(threads: number): Promise<WasmModule> {
  const name = '@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm-threaded-simd';
  const loader = require.resolve(`${name}.js`);
  const { wasmWorkerContents } = require(`${name}.worker.js`) as { wasmWorkerContents: string };
  const workerScript = wasmWorkerContents.replaceAll('\n', '\\n'); // as TensorFlow.js mends it: a newline in a literal
  // The loader starts eight workers whatever the number of threads; each costs 30 ms and 10 MB.
  const script = (await readFile(loader, 'utf8')).replace(
    'pthreadPoolSize=8',
    `pthreadPoolSize=${threads - 1}`,
  );

  const workers: Worker[] = [];
  let onError: (error: Error) => void = () => undefined;
  const failure = new Promise<never>((_, reject) => (onError = reject));
  function PoolWorker(): Worker {
    const worker = new Worker(workerScript, { eval: true, execArgv: [], env: {} });
    const report = (error: Error): void => onError(error);
    worker.on('error', report);
    Object.defineProperty(worker, 'onerror', { value: report }); // the loader would set one that throws
    workers.push(worker);
    return worker;
  }
  const module = { exports: {} as Loader };
  const names = {
    module,
    exports: module.exports,
    // The module takes as many threads as half the cores, at most.
    require: (id: string): unknown => (id === 'os' ? { cpus: () => ({ length: 2 * threads }) } : require(id)),
    // No listeners for uncaught errors: its own are harmful, and at its end it takes everybody's away.
    process: Object.create(process, {
      on: { value: () => undefined },
      listeners: { value: () => [] },
    }) as unknown,
    global: {}, // no global Worker
    Worker: PoolWorker,
    __filename: loader,
    __dirname: path.dirname(loader),
  };
  const run = compileFunction(script, Object.keys(names), { filename: loader }) as (
    ...values: unknown[]
  ) => void;
  run(...Object.values(names));
  const locateFile = (file: string): string => path.join(path.dirname(loader), file);
  const wasm = await Promise.race([module.exports({ locateFile }), failure]).catch(async (error: unknown) => {
    await Promise.all(workers.map((worker) => worker.terminate()));
    throw error;
  });
  onError = (error) => {
    throw error;
  };
  wasm.tfjs = {
    init: wasm._init,
    initWithThreadsCount: wasm._init_with_threads_count,
    getThreadsCount: wasm._get_threads_count,
    registerTensor: wasm._register_tensor,
    disposeData: wasm._dispose_data,
    dispose: wasm._dispose,
  };
  return wasm;
}
