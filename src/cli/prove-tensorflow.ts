import * as tf from '@tensorflow/tfjs-core';
import { messageOf, UserError } from '../errors.ts';
import { prove } from '../backend/prove.ts';
import { startBackend } from '../backend/start.ts';
import { requireBuild, type NativeDevice } from '../backend/native.ts';

/**
 * Computes known values with native TensorFlow: products, softmax, gathers and a gradient.
 * @param folder a build; undefined for the one that `--backend tensorflow` would take
 * @returns TensorFlow's version
 * @throws UserError naming what is wrong
 */
export async function proveTensorflow(folder: string | undefined, device: NativeDevice): Promise<string> {
  try {
    if (folder === undefined) await startBackend('tensorflow');
    else requireBuild(folder, device);
    await prove('tensorflow'); // matMul, softmax, gather from rows, erf
    await proveGather();
    await proveGradient();
  } catch (error) {
    throw new UserError(messageOf(error));
  }
  const backend = tf.backend() as unknown as {
    isUsingGpuDevice?: boolean;
    binding?: { TF_Version?: string };
  };
  if (device === 'cuda' && !backend.isUsingGpuDevice) {
    throw new UserError('it sees no GPU: nvidia-smi should show one, and a driver that is new enough');
  }
  return backend.binding?.TF_Version ?? 'unknown';
}

async function proveGather(): Promise<void> {
  const x = tf.tensor2d([10, 11, 12, 20, 21, 22], [2, 3]);
  const picked = tf.gather(x, tf.tensor2d([2, 0, 1, 1], [2, 2], 'int32'), 1, 1);
  await expectValues('gather with batchDims', picked, [12, 10, 21, 21]);
}

/** f(a) = Σ (a·b)² has the gradient 2·(a·b)·bᵀ. */
async function proveGradient(): Promise<void> {
  const a = tf.tensor2d([1, 2, 3, 4], [2, 2]);
  const b = tf.tensor2d([1, 0, 2, 1], [2, 2]); // a·b = [5 2; 11 4]
  const gradient = tf.grad((x) => tf.sum(tf.square(tf.matMul(x, b))))(a);
  await expectValues('the gradient of a product', gradient, [10, 24, 22, 52]);
}

async function expectValues(op: string, actual: tf.Tensor, expected: number[]): Promise<void> {
  const values = [...(await actual.data())];
  if (values.length === expected.length && expected.every((x, i) => Math.abs(x - values[i]) < 1e-5)) return;
  throw new Error(`${op} came out as [${values.join(', ')}] for [${expected.join(', ')}]`);
}
