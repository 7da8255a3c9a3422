/** The memory of the machine, or of the part of it that the process may have. */
import { totalmem } from 'node:os';
import * as tf from '@tensorflow/tfjs-core';
import { messageOf, UserError } from '../errors.ts';
import type { WeightBytes } from '../tensor/traits.ts';

const GiB = 1024 ** 3;
const gib = (bytes: number) => `${(bytes / GiB).toFixed(2)} GiB`;

/** What this process can have at most, in bytes: all there is, or its cgroup's limit (a container's, a Slurm job's). */
export function hostBytes(): number {
  const limit = process.constrainedMemory(); // 0 or undefined without a limit, 2⁶³ and more in some versions
  return limit > 0 && limit < totalmem() ? limit : totalmem();
}

/**
 * {@link BackendTraits.requireMemory} where weights lie in the host's memory: past it the kernel ends the process without a
 * word. Of the largest matrix a second form exists while it is made.
 */
export function requireHostMemory(weights: WeightBytes, what: string, available = hostBytes()): void {
  const { matrices, stored = 0, widened = 0 } = weights;
  const float32 = float32Of(weights);
  const largest = matrices.reduce((most, bytes) => Math.max(most, bytes), widened);
  const needed = float32 + stored + largest + tf.memory().numBytes;
  if (needed <= available) return;
  const kept = stored > 0 ? `${gib(stored)} of 16-bit and ${gib(float32)} of` : `${gib(float32)} of`;
  throw new UserError(
    `${what} needs about ${gib(needed)} (${kept} float32 weights), but this process can have ` +
      `${gib(available)} of memory`,
  );
}

const float32Of = ({ matrices, others }: WeightBytes): number =>
  matrices.reduce((sum, bytes) => sum + bytes, others);

/** {@link BackendTraits.prefersStored} there: where float32 would take more than half of it. */
export const prefersStoredOnHost = (weights: WeightBytes): boolean => float32Of(weights) > hostBytes() / 2;

/** Says in a sentence that memory ran out, where an error means that: TensorFlow's status 8, an array that is not to be had. */
export function describeOutOfMemory(error: unknown): string | undefined {
  const message = messageOf(error);
  const wanted = /OOM when allocating tensor with shape\s*(\[[\d,]*\])/.exec(message);
  if (wanted || /TF_Status: 8\b/.test(message)) {
    return `TensorFlow ran out of memory${wanted ? ` at a tensor of ${wanted[1]}` : ''}: this process can have ${gib(hostBytes())}`;
  }
  if (
    error instanceof RangeError &&
    /Array buffer allocation failed|Invalid typed array length/.test(message)
  ) {
    return `memory ran out (${message}): this process can have ${gib(hostBytes())}`;
  }
  return undefined;
}
