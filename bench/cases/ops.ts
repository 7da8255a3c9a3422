/** Single operations against their floor: the machine's own rates, and the shapes that the models are made of. */
import * as tf from '@tensorflow/tfjs-core';
import { dense, norm } from '../../src/io/weight-table.ts';
import { attend } from '../../src/tensor/attention.ts';
import { linear, type Linear } from '../../src/tensor/linear.ts';
import { layerNorm, type LayerNorm } from '../../src/tensor/norm.ts';
import type { BenchCase } from '../harness.ts';
import { digestOf, inputRecipe, inputTensor, randomWeights, recipesOf } from '../weights.ts';
import { digestLength, peerCases, type Context, type PeerRequest, type Ways } from './context.ts';

/**
 * What the machine can do at all: the best runner's best sample is the floor under every other time.
 */
export function machineCases(context: Context): BenchCase[] {
  const n = 2048;
  const square = [inputRecipe('a', [n, n]), inputRecipe('b', [n, n])];
  const vector = inputRecipe('x', [2 ** 26]);
  return [
    ...opCases(context, {
      name: `matmul ${n}³`,
      group: 'machine: matmul',
      work: { flops: 2 * n ** 3 },
      request: { kind: 'matmul', inputs: square },
      make: () => Promise.resolve(square.map((recipe) => inputTensor<tf.Tensor2D>(recipe))),
      compute: ([a, b]) => tf.matMul(a, b),
    }),
    ...opCases(context, {
      name: 'sum of 256 MiB',
      group: 'machine: bandwidth',
      work: { bytes: 4 * 2 ** 26 },
      count: 1,
      unchecked: true, // 2²⁶ terms in float32 add up to whatever their order makes of them
      request: { kind: 'sum', input: vector },
      make: () => Promise.resolve(inputTensor<tf.Tensor1D>(vector)),
      compute: (x) => tf.sum(x),
    }),
  ];
}

export function opsCases(context: Context): BenchCase[] {
  return [
    linearCases(context, 577, 1024, 1024),
    linearCases(context, 577, 1024, 4096),
    linearCases(context, 577, 4096, 1024),
    attentionCases(context, 16, 577, 64),
    normCases(context, 577, 1024),
    linearCases(context, 1, 2048, 5632),
  ].flat();
}

/** x·W + b. Many rows are bound by arithmetic; one row, a decoding step's, by reading W. */
function linearCases(context: Context, rows: number, inner: number, out: number): BenchCase[] {
  const tree = dense(`${inner}x${out}`, inner, out);
  const input = inputRecipe('x', [rows, inner]);
  const name = `linear ${rows}×${inner}×${out}`;
  return opCases(context, {
    name,
    group: `ops: ${name}`,
    work: rows === 1 ? { bytes: 4 * inner * out } : { flops: 2 * rows * inner * out },
    request: { kind: 'linear', weights: recipesOf(tree), input },
    make: async () => ({
      weights: (await randomWeights(tree, name)) as Linear,
      x: inputTensor<tf.Tensor2D>(input),
    }),
    compute: ({ weights, x }) => linear(weights, x),
  });
}

/** softmax(q·kᵀ/√C)·v of all heads. */
function attentionCases(context: Context, H: number, T: number, C: number): BenchCase[] {
  const inputs = ['q', 'k', 'v'].map((part) => inputRecipe(part, [1, H, T, C]));
  const name = `attention, ${H} heads of ${T}×${C}`;
  return opCases(context, {
    name,
    group: `ops: ${name}`,
    work: { flops: 4 * H * T * T * C },
    ways: 'every',
    request: { kind: 'attention', inputs },
    make: () => Promise.resolve(inputs.map((recipe) => inputTensor<tf.Tensor4D>(recipe))),
    compute: ([q, k, v]) => attend(q, k, v).context,
  });
}

function normCases(context: Context, rows: number, D: number): BenchCase[] {
  const tree = norm('norm', D);
  const input = inputRecipe('x', [rows, D]);
  const name = `LayerNorm ${rows}×${D}`;
  return opCases(context, {
    name,
    group: `ops: ${name}`,
    work: { bytes: 2 * 4 * rows * D },
    request: { kind: 'norm', weights: recipesOf(tree), input },
    make: async () => ({
      weights: (await randomWeights(tree, name)) as LayerNorm,
      x: inputTensor<tf.Tensor2D>(input),
    }),
    compute: ({ weights, x }) => layerNorm(weights, x, 1e-5),
  });
}

interface Op<Held> {
  name: string;
  group: string;
  work: BenchCase['work'];
  request: PeerRequest;
  ways?: Ways;
  unchecked?: boolean;
  count?: number;
  make: () => Promise<Held>;
  compute: (held: Held) => tf.Tensor;
}

function opCases<Held>(
  context: Context,
  { request, ways, count = digestLength, make, compute, ...description }: Op<Held>,
): BenchCase[] {
  const ours = context.backends.map((backend): BenchCase => {
    let held: Held | undefined;
    return {
      ...description,
      runner: backend,
      backend,
      prepare: async () => void (held = await make()),
      run: async () => ({
        digest: await digestOf(
          tf.tidy(() => compute(held!)),
          count,
        ),
      }),
      dispose: () => tf.dispose(held as tf.TensorContainer),
    };
  });
  return [...ours, ...peerCases(context, description, { [description.name]: request }, { ways, count })];
}
