/**
 * Products with 16-bit matrices on native TensorFlow. Of a few rows, an answer's next token, by an operation of our own that
 * reads the matrix once, at the memory's speed (native/products.cc); of many the matrix is widened and multiplied by as a
 * float32 one would be, to the same last bit. Without that operation few rows are multiplied by a widened matrix too, which is
 * as exact and takes a token three times as long.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { messageOf, UserError } from '../errors.ts';
import { halfKernels, type HalfFormat } from '../tensor/half.ts';
import type { NativeBackend } from '../tensor/native-ops.ts';
import { widenPairs } from '../tensor/widen.ts';

/** Our C++, seen from src/backend and from dist/backend. */
export const productSources = path.join(import.meta.dirname, '..', '..', 'src', 'backend', 'native');

/** More rows than these cost less by widening. */
const fewRows = 8;

let products: { form: string; useHugePages(this: void, bytes: Uint8Array): void } | undefined;

/** The instruction set of the products that were loaded, where they were. */
export const productsInUse = (): { form?: string } => ({ form: products?.form });

/** {@link BackendTraits.expectWeights}, where the products were loaded. */
export const expectWeights = (bytes: Uint8Array): void => products?.useHugePages(bytes);

/** The compiled products of this version, beside a build's binding. */
export function productsFile(binding: string): string {
  const hash = createHash('sha256');
  for (const file of ['products.cc', 'rows.cc']) hash.update(readFileSync(path.join(productSources, file)));
  return path.join(path.dirname(binding), `vtc_products-${hash.digest('hex').slice(0, 12)}.node`);
}

/**
 * Loads the compiled products, where they are: once a process.
 * @throws UserError for a VTC_CLS_KERNEL that this processor does not run
 */
export function loadProducts(file: string): void {
  const without = process.env['VTC_CLS_KERNEL'] === 'none'; // what is compiled is left aside
  if (products !== undefined || without || !existsSync(file)) return;
  try {
    products = createRequire(import.meta.url)(file) as typeof products;
  } catch (error) {
    if (messageOf(error).includes('VTC_CLS_KERNEL')) throw new UserError(messageOf(error));
    // Compiled for another TensorFlow: widening serves.
  }
}

/** Puts the kernels in place, once. */
export function useHalf(): void {
  const backend = tf.findBackend('tensorflow') as unknown as NativeBackend | null;
  if (!backend || tf.getKernel(halfKernels.times, 'tensorflow')) return;
  const run = (op: string, format: HalfFormat, ...inputs: tf.TensorInfo[]): tf.Tensor2D =>
    backend.executeSingleOutput(`Vtc${op}${format === 'BF16' ? 'Bf16' : 'F16'}`, [], inputs) as tf.Tensor2D;
  const hasOps = () => products !== undefined && !backend.isUsingGpuDevice;

  tf.registerKernel({
    kernelName: halfKernels.times,
    backendName: 'tensorflow',
    kernelFunc: ({ inputs, attrs }) => {
      const { x, pairs } = inputs as Record<'x' | 'pairs', tf.Tensor2D>;
      const { format } = attrs as unknown as { format: HalfFormat };
      const few = x.shape[0] <= fewRows;
      if (hasOps() && few) return run('Times', format, x, pairs);
      const matrix = hasOps() ? run('Turn', format, pairs) : widenPairs(pairs, format, !few);
      try {
        return tf.matMul(x, matrix, false, !hasOps() && few); // transposing costs more than a few rows' product
      } finally {
        matrix.dispose();
      }
    },
  });
  tf.registerKernel({
    kernelName: halfKernels.widen,
    backendName: 'tensorflow',
    kernelFunc: ({ inputs, attrs }) =>
      widenPairs(
        inputs['pairs'] as tf.TensorInfo,
        (attrs as unknown as { format: HalfFormat }).format,
        false,
      ),
  });
}
