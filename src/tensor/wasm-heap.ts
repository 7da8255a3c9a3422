/** The guards around wasm's heap. Nothing of Node: a page in a browser needs them too. */
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import type { BackendTraits, WeightBytes } from './traits.ts';

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
  /** float32 bytes of the blocks in which a 16-bit matrix is multiplied by. */
  halfBlockBytes: 32 * 1024 ** 2,
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
  prefersStored: (weights) => neededOf(weights) > limits.wasmHeapBytes,
};

/** Bytes that XNNPACK may ask for behind our back: the packed copy of the largest matrix loaded so far. */
let largestMatrix = 64 * 1024 ** 2;

/**
 * wasm's part of {@link BackendTraits.requireMemory}: running out is silent there and overwrites earlier tensors, or
 * computes garbage.
 */
export function requireWasmMemory(weights: WeightBytes, what: string): void {
  const { matrices, stored = 0 } = weights;
  largestMatrix = matrices.reduce((most, bytes) => Math.max(most, bytes), largestMatrix);
  const needed = neededOf(weights);
  if (needed <= limits.wasmHeapBytes) return;
  const gib = (bytes: number) => `${(bytes / GiB).toFixed(2)} GiB`;
  const halves = stored > 0 ? `${gib(stored)} of 16-bit weights and ` : '';
  throw new UserError(
    `${what} needs about ${gib(needed)} on the wasm backend ` +
      `(${halves}${gib(sumOf(matrices))} of float32 weights, each with a packed copy), ` +
      `whose heap holds ${gib(limits.wasmHeapBytes)}: use --backend tensorflow`,
  );
}

/** Of a 16-bit matrix one block at a time is widened, with its packed copy and the transposed values it is made of. */
function neededOf({ matrices, others, stored = 0, widened = 0 }: WeightBytes): number {
  const block = 3 * Math.min(widened, limits.halfBlockBytes);
  return limits.wasmCopiesPerWeight * (sumOf(matrices) + tf.memory().numBytes) + others + stored + block;
}

const sumOf = (bytes: readonly number[]): number => bytes.reduce((sum, one) => sum + one, 0);

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
