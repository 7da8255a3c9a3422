import * as tf from '@tensorflow/tfjs-core';

/** What the code above must know of the backend that runs. */
export interface BackendTraits {
  /** False on wasm: a batched or transposed product there is a scalar loop. */
  fastBatchedMatMul: boolean;
  /** Matrices are cut into column blocks of about so many bytes; Infinity leaves them whole. */
  columnBlockBytes: number;
  /**
   * Refuses a model that will not fit in the backend's memory, before it is loaded.
   * @param what the sentence's subject, e.g. the model's folder
   * @throws UserError with the numbers
   */
  requireMemory(weights: WeightBytes, what: string): void;
  /** Told of room, still empty, where a large matrix will stay as the file holds it. */
  expectWeights?(this: void, bytes: Uint8Array): void;
  /** Whether 16-bit matrices had better stay as the file holds them, where all as float32 would be so much. */
  prefersStored(asFloat32: WeightBytes): boolean;
}

/** What a model's weights take, in bytes. */
export interface WeightBytes {
  /** Of each float32 matrix that will be multiplied by. */
  matrices: readonly number[];
  /** Of the other float32 weights. */
  others: number;
  /** Of all 16-bit matrices that stay as they are. */
  stored?: number;
  /** Of the largest of them, as float32: while it is used, it exists twice. */
  widened?: number;
}

/** Right on every backend: for one that was started without telling its traits, as a page in a browser may. */
const careful: BackendTraits = {
  fastBatchedMatMul: false,
  columnBlockBytes: Infinity,
  requireMemory: () => undefined,
  prefersStored: () => false,
};

const known = new Map<string, BackendTraits>();

/** Tells the traits of a backend, by TensorFlow.js's name for it. Whoever starts one does. */
export function setTraits(backend: string, traits: BackendTraits): void {
  known.set(backend, traits);
}

/** The traits of the backend that runs now. */
export function backendTraits(): BackendTraits {
  return known.get(tf.getBackend()) ?? careful;
}
