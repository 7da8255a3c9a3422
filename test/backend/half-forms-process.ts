/** Started with VTC_CLS_KERNEL: which form runs, and the greatest error of its products beside float64. */
import * as tf from '@tensorflow/tfjs-core';
import { productsInUse } from '../../src/backend/native-half.ts';
import { startBackend } from '../../src/backend/start.ts';
import { messageOf } from '../../src/errors.ts';
import { encodeFloat32, toFloat32 } from '../../src/io/dtype.ts';
import { createRandom } from '../../src/random.ts';
import { timesHalf, type HalfFormat } from '../../src/tensor/half.ts';

try {
  await startBackend('tensorflow');
} catch (error) {
  console.error(messageOf(error));
  process.exit(1);
}
const random = createRandom(5);
const errors: number[] = [];
for (const format of ['BF16', 'F16'] as HalfFormat[]) {
  for (const [M, K, N] of [
    [1, 4096, 300],
    [2, 70, 33],
    [3, 128, 257],
    [4, 98, 16],
    [7, 34, 5],
    [8, 2, 1],
    [40, 66, 70], // widened and turned
  ]) {
    const x = Float32Array.from({ length: M * K }, () => random() - 0.5);
    const bytes = encodeFloat32(
      Float32Array.from({ length: N * K }, (_, i) => (random() - 0.5) * (i % 3 === 0 ? 1e-6 : 1)), // subnormal in F16
      format,
    );
    const w = toFloat32(bytes, format);
    const pairs = tf.tensor2d(new Int32Array(bytes.slice().buffer), [N, K / 2], 'int32');
    const y = (await timesHalf(tf.tensor2d(x, [M, K]), { pairs, format }).data()) as Float32Array;
    y.forEach((value, i) => {
      const [m, n] = [Math.floor(i / N), i % N];
      let [sum, size] = [0, 0];
      for (let k = 0; k < K; k++) {
        sum += x[m * K + k] * w[n * K + k];
        size += Math.abs(x[m * K + k] * w[n * K + k]);
      }
      errors.push(Math.abs(value - sum) / size);
    });
  }
}
console.log(JSON.stringify({ ...productsInUse(), error: Math.max(...errors), count: errors.length }));
process.exit(0);
