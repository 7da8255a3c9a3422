/**
 * oneDNN's kernels. TensorFlow on x86 carries them, but what it runs by default is slower: on 2 cores oneDNN's softmax
 * over 16 heads of 577×577 is 3 times as fast, their product with the values twice, LayerNorm of 577×1024 5 times.
 * Here they run under the names TensorFlow.js knows, and so keep the gradients it has for those names.
 * (TF_ENABLE_ONEDNN_OPTS=1 would do less: no LayerNorm, a slower 2-D product, and a banner.)
 */
import * as tf from '@tensorflow/tfjs-core';
import { layerNormKernel } from '../tensor/norm.ts';

/** tfjs-node's backend runs any op TensorFlow has, by its name and attributes. */
interface NativeBackend {
  isUsingGpuDevice: boolean;
  binding: Record<'TF_FLOAT' | `TF_ATTR_${'TYPE' | 'BOOL' | 'FLOAT' | 'STRING'}`, number>;
  executeSingleOutput(op: string, attributes: object[], inputs: tf.TensorInfo[]): tf.TensorInfo;
}

type Attributes = Record<string, boolean | number | string>;
type Inputs = Record<string, tf.TensorInfo>;
type Op = [name: string, inputs: tf.TensorInfo[], attributes: Attributes];

/** Of an op's two kernels the one whose tensors lie in the usual order. */
const usualOrder = { _kernel: 'MklNameChangeOp' };

/** TensorFlow.js's kernel → oneDNN's op; undefined for the inputs that it does not take. */
const ops: Record<string, (inputs: Inputs, attributes: Attributes) => Op | undefined> = {
  BatchMatMul({ a, b }, { transposeA, transposeB }) {
    if (a.dtype !== 'float32' || b.dtype !== 'float32') return undefined;
    return a.shape.length === 2 && b.shape.length === 2
      ? ['_MklMatMul', [a, b], { ...usualOrder, transpose_a: transposeA, transpose_b: transposeB }]
      : ['_MklBatchMatMulV2', [a, b], { ...usualOrder, adj_x: transposeA, adj_y: transposeB }];
  },
  Softmax: ({ logits }) =>
    logits.dtype === 'float32' && logits.shape.length <= 5
      ? ['_MklSoftmax', [logits], usualOrder]
      : undefined,
  [layerNormKernel]: ({ x, weight, bias }, { eps }) => ['_MklLayerNorm', [x, weight, bias], { epsilon: eps }],
};

/** Puts oneDNN's kernels in place where native TensorFlow has been loaded, runs on the CPU and has them. */
export function useOneDnn(): void {
  const backend = tf.findBackend('tensorflow') as unknown as NativeBackend | null;
  if (!backend || backend.isUsingGpuDevice || isInPlace() || !hasOneDnn(backend)) return;
  for (const [kernelName, chooseOp] of Object.entries(ops)) {
    const theirs = tf.getKernel(kernelName, 'tensorflow') as tf.KernelConfig | undefined;
    if (theirs) tf.unregisterKernel(kernelName, 'tensorflow');
    tf.registerKernel({
      kernelName,
      backendName: 'tensorflow',
      kernelFunc: (call) => {
        const op = chooseOp(call.inputs as Inputs, call.attrs as Attributes);
        return op ? execute(call.backend as unknown as NativeBackend, op) : theirs!.kernelFunc(call);
      },
    });
  }
}

const isInPlace = (): boolean => tf.getKernel(layerNormKernel, 'tensorflow') !== undefined;

/** TensorFlow refuses the names of ops it was built without. */
function hasOneDnn(backend: NativeBackend): boolean {
  try {
    tf.tidy(() => {
      const [matrix, batch, row] = [tf.ones([1, 1]), tf.ones([1, 1, 1]), tf.ones([1])];
      const noTranspose = { transposeA: false, transposeB: false };
      for (const op of [
        ops['BatchMatMul']({ a: matrix, b: matrix }, noTranspose),
        ops['BatchMatMul']({ a: batch, b: batch }, noTranspose),
        ops['Softmax']({ logits: matrix }, {}),
        ops[layerNormKernel]({ x: matrix, weight: row, bias: row }, { eps: 1 }),
      ]) {
        execute(backend, op!);
      }
    });
    return true;
  } catch {
    return false;
  }
}

function execute(backend: NativeBackend, [name, inputs, attributes]: Op): tf.TensorInfo {
  const { TF_FLOAT, TF_ATTR_TYPE, TF_ATTR_BOOL, TF_ATTR_FLOAT, TF_ATTR_STRING } = backend.binding;
  const typeOf = (value: boolean | number | string): number =>
    typeof value === 'boolean' ? TF_ATTR_BOOL : typeof value === 'number' ? TF_ATTR_FLOAT : TF_ATTR_STRING;
  return backend.executeSingleOutput(
    name,
    [
      { name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT },
      ...Object.entries(attributes).map(([key, value]) => ({ name: key, type: typeOf(value), value })),
    ],
    inputs,
  );
}
