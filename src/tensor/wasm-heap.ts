/** The guards around wasm's heap. Nothing of Node: a page in a browser needs them too. */
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import type { BackendTraits } from './traits.ts';

/** What is used here of Emscripten's module. */
export interface WasmHeap {
  _malloc: (bytes: number) => number;
  _free(address: number): void;
  HEAPU8: Uint8Array;
}

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

/** What the layers know of wasm: no fast batched product, matrices in blocks that fit a cache, one heap of 4 GiB. */
export const wasmTraits: BackendTraits = {
  fastBatchedMatMul: false,
  columnBlockBytes: 4 * 1024 ** 2,
  requireMemory: requireWasmMemory,
};

/** Bytes that XNNPACK may ask for behind our back: the packed copy of the largest matrix loaded so far. */
let largestMatrix = 64 * 1024 ** 2;

/**
 * wasm's part of {@link BackendTraits.requireMemory}: running out is silent there and overwrites earlier tensors, or
 * computes garbage.
 */
export function requireWasmMemory(matrices: readonly number[], otherBytes: number, what: string): void {
  const largest = matrices.reduce((most, bytes) => Math.max(most, bytes), 0);
  const weightBytes = matrices.reduce((sum, bytes) => sum + bytes, 0);
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

const guardedModules = new WeakSet<WasmHeap>();

/**
 * wasm's malloc answers 0 when the heap is full: TensorFlow.js then writes there, and XNNPACK's own allocations, which
 * cannot be watched, make it return without computing. Make the first an error, and the second too by keeping room.
 */
export function guardHeap(): void {
  const { wasm } = tf.backend() as unknown as { wasm: WasmHeap };
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
