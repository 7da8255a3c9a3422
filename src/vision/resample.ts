/** Square grids of numbers on fewer points: each axis by itself, each a product with one matrix. */
import * as tf from '@tensorflow/tfjs-core';
import { cubic } from '../image/resize.ts';
import { shape } from '../tensor/axes.ts';

/**
 * Y = R·X·Rᵀ of each picture and channel.
 * @param grids X [B, S, S, D]
 * @param R [s][S]
 * @returns [B, s, s, D]
 */
export function resample(grids: tf.Tensor4D, R: readonly (readonly number[])[]): tf.Tensor4D {
  return tf.tidy(() => {
    const { B, S, D } = shape({ grids }, 'B S S D', { S: R[0].length });
    const s = R.length;
    const across: tf.Tensor2D = tf.transpose(tf.tensor2d(R as number[][])); // Rᵀ [S, s]
    const along = (x: tf.Tensor4D, rows: number): tf.Tensor4D =>
      tf.reshape(tf.matMul(tf.reshape(x, [B * rows * D, S]), across), [B, rows, D, s]);
    const narrow = along(tf.transpose(grids, [0, 1, 3, 2]), S); // [B, S, D, s], its rows shorter
    const low = along(tf.transpose(narrow, [0, 3, 2, 1]), s); // [B, s, D, s], column by column
    return tf.transpose(low, [0, 3, 1, 2]);
  });
}

/**
 * For pictures, bicubic with antialiasing, as Pillow and `F.interpolate(…, mode='bicubic', antialias=True)` have it: the
 * cubic (a = −½) is stretched over the r = S/s old points that a new one stands for, and what is beyond the edge left out:
 *
 *     R[i][j] = k((j + ½ − (i + ½)·r) / r), each row divided by its sum
 */
export const antialiasedMatrix = (S: number, s: number): number[][] =>
  Array.from({ length: s }, (_, i) => {
    const [r, k] = [S / s, cubic(-1 / 2)];
    const row = Array.from({ length: S }, (_, j) => k((j + 0.5 - (i + 0.5) * r) / r));
    const sum = row.reduce((total, weight) => total + weight, 0);
    return row.map((weight) => weight / sum);
  });

/**
 * For position embeddings, bicubic without antialiasing, as `F.interpolate(…, mode='bicubic', align_corners=False)` has it:
 * the four old points around a new one, by the cubic with a = −¾; beyond the edge the outermost stands again:
 *
 *     c = (i + ½)·S/s − ½;  R[i][clamp(j)] += k(j − c) for j = ⌊c⌋ − 1 .. ⌊c⌋ + 2
 */
export const interpolatingMatrix = (S: number, s: number): number[][] =>
  Array.from({ length: s }, (_, i) => {
    const [c, k] = [((i + 0.5) * S) / s - 0.5, cubic(-3 / 4)];
    const row = Array<number>(S).fill(0);
    for (let j = Math.floor(c) - 1; j <= Math.floor(c) + 2; j++) {
      row[Math.min(Math.max(j, 0), S - 1)] += k(j - c);
    }
    return row;
  });
