/** TensorFlow's own operations on its own tensors, of any type: handles, which TensorFlow.js does not see. */
import type * as tf from '@tensorflow/tfjs-core';

/** Of TensorFlow's C API (TF_DataType); its binding passes the numbers on without naming those it does not use. */
export const nativeTypes = { F32: 1, BF16: 14, F16: 19, uint8: 4, int32: 3, int64: 9 };

/** What is used of tfjs-node's backend. */
export interface NativeBackend {
  isUsingGpuDevice: boolean;
  binding: {
    TF_ATTR_TYPE: number;
    /** Keeps using the array until the handle is deleted. */
    createTensor(shape: number[], type: number, values: Uint8Array | Int32Array): number;
    executeOp(name: string, attributes: object[], handles: number[], outputs: 1): [NativeOutput];
    deleteTensor(handle: number): void;
  };
  /** Handles of tensors; they stay the tensors'. */
  getInputTensorIds(tensors: tf.TensorInfo[]): number[];
  createOutputTensor(output: NativeOutput): tf.Tensor;
  executeSingleOutput(op: string, attributes: object[], inputs: tf.TensorInfo[]): tf.Tensor;
}

export interface NativeOutput {
  id: number;
  shape: number[];
  dtype: number;
}

/** The operations that conversions are made of. Each frees the handles that it is given. */
export function nativeOps(backend: NativeBackend) {
  const { binding } = backend;
  const { F32, int32 } = nativeTypes;
  const type = (name: string, value: number) => ({ name, type: binding.TF_ATTR_TYPE, value });
  const ints = (...values: number[]) => binding.createTensor([values.length], int32, Int32Array.from(values));
  const run = (op: string, attributes: object[], ...inputs: number[]): NativeOutput => {
    try {
      return binding.executeOp(op, attributes, inputs, 1)[0];
    } finally {
      inputs.forEach((handle) => binding.deleteTensor(handle));
    }
  };
  return {
    /** A handle of its own on the values of an int32 tensor. */
    share: (x: tf.TensorInfo) =>
      binding.executeOp('Identity', [type('T', int32)], backend.getInputTensorIds([x]), 1)[0].id,
    bitcast: (x: number, from: number, to: number) =>
      run('Bitcast', [type('T', from), type('type', to)], x).id,
    transpose: (x: number, of: number, ...order: number[]) =>
      run('Transpose', [type('T', of), type('Tperm', int32)], x, ints(...order)).id,
    copy: (x: number, of: number) => run('DeepCopy', [type('T', of)], x).id,
    toFloat32: (x: number, from: number) => run('Cast', [type('SrcT', from), type('DstT', F32)], x).id,
    /** float32 in another shape, as a tensor of TensorFlow.js. */
    finish: (x: number, shape: number[]): tf.Tensor2D =>
      backend.createOutputTensor(
        run('Reshape', [type('T', F32), type('Tshape', int32)], x, ints(...shape)),
      ) as tf.Tensor2D,
  };
}
