/** The memory of the machine, or of the part of it that the process may have. */
import { totalmem } from 'node:os';
import * as tf from '@tensorflow/tfjs-core';
import { messageOf, UserError } from '../errors.ts';

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
export function requireHostMemory(
  matrices: readonly number[],
  otherBytes: number,
  what: string,
  available = hostBytes(),
): void {
  const weightBytes = matrices.reduce((sum, bytes) => sum + bytes, otherBytes);
  const largest = matrices.reduce((most, bytes) => Math.max(most, bytes), 0);
  const needed = weightBytes + largest + tf.memory().numBytes;
  if (needed <= available) return;
  throw new UserError(
    `${what} needs about ${gib(needed)} (${gib(weightBytes)} of float32 weights), but this process can have ` +
      `${gib(available)} of memory`,
  );
}

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
