/**
 * A checkpoint's bytes → a float32 tensor inside native TensorFlow, which converts and transposes on all cores, in memory
 * that it has used before. By way of a JavaScript array the same takes about five times the processor time.
 */
import * as tf from '@tensorflow/tfjs-core';

/** Of TensorFlow's C API (TF_DataType); its binding passes the numbers on without naming those it does not use. */
const types = { F32: 1, BF16: 14, F16: 19, uint8: 4, int32: 3, int64: 9 };
const bytesOf = { F32: 4, BF16: 2, F16: 2 };
export type WidenedDtype = keyof typeof bytesOf;

/** What is used of tfjs-node's backend. A handle is TensorFlow's own tensor, of any type. */
interface NativeBackend {
  binding: {
    TF_ATTR_TYPE: number;
    /** Keeps using the array until the handle is deleted. */
    createTensor(shape: number[], type: number, values: Uint8Array | Int32Array): number;
    executeOp(name: string, attributes: object[], handles: number[], outputs: 1): [Output];
    deleteTensor(handle: number): void;
  };
  createOutputTensor(output: Output): tf.Tensor;
}
interface Output {
  id: number;
  shape: number[];
  dtype: number;
}

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
  const { binding } = backend;
  const { F32, uint8, int32, int64 } = types;
  const [stored, size] = [types[dtype], bytesOf[dtype]];
  const type = (name: string, value: number) => ({ name, type: binding.TF_ATTR_TYPE, value });
  const ints = (...values: number[]) => binding.createTensor([values.length], int32, Int32Array.from(values));

  // Each step frees what it was given.
  const run = (op: string, attributes: object[], ...inputs: number[]): Output => {
    try {
      return binding.executeOp(op, attributes, inputs, 1)[0];
    } finally {
      inputs.forEach((handle) => binding.deleteTensor(handle));
    }
  };
  const bitcast = (x: number, from: number, to: number) =>
    run('Bitcast', [type('T', from), type('type', to)], x).id;
  const transpose = (x: number, of: number, ...order: number[]) =>
    run('Transpose', [type('T', of), type('Tperm', int32)], x, ints(...order)).id;
  const read = (shape: number[], as: number) => bitcast(binding.createTensor(shape, uint8, bytes), uint8, as);
  const transposeAll = () => {
    const group = 8 / size;
    if (columns % group !== 0) return transpose(read([rows, columns, size], stored), stored, 1, 0);
    const groups = transpose(read([rows, columns / group, 8], int64), int64, 1, 0);
    return transpose(bitcast(groups, int64, stored), stored, 0, 2, 1);
  };

  // A single row or column keeps its order, and a Transpose that moves nothing would hand on the caller's own bytes.
  const moves = transposed && rows > 1 && columns > 1;
  const x = moves ? transposeAll() : read([rows, columns, size], stored);
  const values =
    dtype !== 'F32'
      ? run('Cast', [type('SrcT', stored), type('DstT', F32)], x)
      : moves
        ? { id: x }
        : run('DeepCopy', [type('T', F32)], x);
  const shape = transposed ? [columns, rows] : [rows, columns];
  const result = run('Reshape', [type('T', F32), type('Tshape', int32)], values.id, ints(...shape));
  return backend.createOutputTensor(result) as tf.Tensor2D;
}
