/**
 * A checkpoint's bytes → a float32 tensor inside native TensorFlow, which converts and transposes on all cores, in memory
 * that it has used before. By way of a JavaScript array the same takes about five times the processor time.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { HalfFormat } from './half.ts';
import { nativeOps, nativeTypes, type NativeBackend } from './native-ops.ts';

const bytesOf = { F32: 4, BF16: 2, F16: 2 };
export type WidenedDtype = keyof typeof bytesOf;

/** Whether the running backend takes a file's bytes in this format. */
export function canWiden(dtype: string | undefined): dtype is WidenedDtype {
  return tf.getBackend() === 'tensorflow' && dtype !== undefined && dtype in bytesOf;
}

/**
 * Little-endian rows to float32, transposed if asked for. Exact, but that a signaling NaN of F16 may become quiet, as in
 * PyTorch. The bytes can be reused at once.
 *
 * Many small elements transpose slowly. So columns that fill 8 bytes travel together first, then part:
 *
 *     [rows, columns/g, g]  →  [columns/g, rows, g]  →  [columns/g, g, rows]
 *
 * @param bytes rows·columns values
 * @returns [rows, columns], or [columns, rows]
 */
export function widen(
  bytes: Uint8Array,
  dtype: WidenedDtype,
  [rows, columns]: readonly number[],
  transposed: boolean,
): tf.Tensor2D {
  const backend = tf.backend() as unknown as NativeBackend;
  const { bitcast, transpose, copy, toFloat32, finish } = nativeOps(backend);
  const { uint8, int64 } = nativeTypes;
  const [stored, size] = [nativeTypes[dtype], bytesOf[dtype]];
  const read = (shape: number[], as: number) =>
    bitcast(backend.binding.createTensor(shape, uint8, bytes), uint8, as);
  const transposeAll = () => {
    const group = 8 / size;
    if (columns % group !== 0) return transpose(read([rows, columns, size], stored), stored, 1, 0);
    const groups = transpose(read([rows, columns / group, 8], int64), int64, 1, 0);
    return transpose(bitcast(groups, int64, stored), stored, 0, 2, 1);
  };

  // A single row or column keeps its order, and a Transpose that moves nothing would hand on the caller's own bytes.
  const moves = transposed && rows > 1 && columns > 1;
  const x = moves ? transposeAll() : read([rows, columns, size], stored);
  const values = dtype !== 'F32' ? toFloat32(x, stored) : moves ? x : copy(x, stored);
  return finish(values, transposed ? [columns, rows] : [rows, columns]);
}

/** Of a {@link HalfMatrix}: float32 [rows, columns], or transposed, as {@link widen} does it. @param pairs [rows, columns/2] */
export function widenPairs(pairs: tf.TensorInfo, format: HalfFormat, transposed: boolean): tf.Tensor2D {
  const backend = tf.backend() as unknown as NativeBackend;
  const { share, bitcast, transpose, toFloat32, finish } = nativeOps(backend);
  const { int32 } = nativeTypes;
  const stored = nativeTypes[format];
  const [rows, columns] = [pairs.shape[0], 2 * pairs.shape[1]];
  const own = share(pairs);
  const x = transposed
    ? transpose(bitcast(transpose(own, int32, 1, 0), int32, stored), stored, 0, 2, 1)
    : bitcast(own, int32, stored);
  return finish(toFloat32(x, stored), transposed ? [columns, rows] : [rows, columns]);
}
