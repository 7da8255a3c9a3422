/**
 * Products with 16-bit matrices where a tensor's values are JavaScript's, or can be read at once: wasm and cpu. The matrix is
 * widened in blocks of rows, each a float32 matrix for the time of its product. Slow, for models that would not fit otherwise.
 */
import * as tf from '@tensorflow/tfjs-core';
import { toFloat32 } from '../io/dtype.ts';
import { halfKernels, type HalfFormat } from '../tensor/half.ts';
import { toLinearWeight } from '../tensor/linear.ts';
import { limits } from '../tensor/wasm-heap.ts';

/** Puts the kernels in place for a backend, once. */
export function useHostHalf(backendName: 'wasm' | 'cpu'): void {
  if (tf.getKernel(halfKernels.times, backendName)) return;
  const read = (pairs: tf.TensorInfo, format: HalfFormat): Float32Array => {
    const { buffer, byteOffset, byteLength } = tf.backend().readSync(pairs.dataId) as Int32Array;
    return toFloat32(new Uint8Array(buffer, byteOffset, byteLength), format);
  };
  tf.registerKernel({
    kernelName: halfKernels.times,
    backendName,
    kernelFunc: ({ inputs, attrs }) => {
      const { x, pairs } = inputs as Record<'x' | 'pairs', tf.Tensor2D>;
      const { format } = attrs as unknown as { format: HalfFormat };
      const [out, half] = pairs.shape;
      const rows = Math.max(1, Math.floor(limits.halfBlockBytes / (8 * half)));
      return tf.tidy(() => {
        const products: tf.Tensor2D[] = [];
        for (let from = 0; from < out; from += rows) {
          const some = Math.min(rows, out - from);
          const block = (): tf.Tensor2D => {
            const values = read(tf.slice(pairs, [from, 0], [some, half]), format);
            return tf.matMul(x, toLinearWeight(values, [some, 2 * half]));
          };
          products.push(tf.tidy(block));
        }
        return products.length === 1 ? products[0] : tf.concat(products, 1);
      });
    },
  });
  tf.registerKernel({
    kernelName: halfKernels.widen,
    backendName,
    kernelFunc: ({ inputs, attrs }) => {
      const pairs = inputs['pairs'] as tf.TensorInfo;
      const values = read(pairs, (attrs as unknown as { format: HalfFormat }).format);
      return tf.tensor2d(values, [pairs.shape[0], 2 * pairs.shape[1]]);
    },
  });
}
