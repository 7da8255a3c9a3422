/**
 * The derivatives of the kernels that the layers are made of. TensorFlow.js records which kernels ran and walks back
 * through them; here stands what each hands back, given dy = ∂loss/∂y. In Node its own table comes only with native
 * TensorFlow, and inference needs none.
 */
import * as tf from '@tensorflow/tfjs-core';

type T = tf.Tensor;
type Config = tf.GradConfig;
/** dy and the saved tensors → ∂loss/∂input, by the input's name, each computed only if something asks for it. */
type Formula = (dy: T, saved: T[], attributes: Record<string, never>) => Record<string, () => T>;

/** Makes `tf.grads` and its like work through every layer of this project, on whichever backend runs. */
export function registerGradients(): void {
  for (const config of kernels) tf.registerGradient(config);
}

const kernel = (kernelName: string, save: Partial<Config>, formula: Formula): Config => {
  return { kernelName, ...save, gradFunc: formula as unknown as Config['gradFunc'] };
};

/** y = f(x), differentiated in terms of x. */
const ofInput = (name: string, derive: (dy: T, x: T) => T): Config =>
  kernel(name, { inputsToSave: ['x'] }, (dy, [x]) => ({ x: () => derive(dy, x) }));

/** y = f(x), differentiated in terms of y. */
const ofOutput = (name: string, derive: (dy: T, y: T) => T): Config =>
  kernel(name, { outputsToSave: [true] }, (dy, [y]) => ({ x: () => derive(dy, y) }));

/** y = f(a, b), of which either may have been broadcast. */
const ofTwo = (name: string, byA: (dy: T, a: T, b: T) => T, byB: (dy: T, a: T, b: T) => T): Config =>
  kernel(name, { inputsToSave: ['a', 'b'] }, (dy, [a, b]) => ({
    a: () => sumTo(byA(dy, a, b), a.shape),
    b: () => sumTo(byB(dy, a, b), b.shape),
  }));

/** What was broadcast from `shape` received dy several times: the sum. */
function sumTo(dy: T, shape: number[]): T {
  const axes = tf.broadcast_util.getReductionAxes(shape, dy.shape);
  return tf.reshape(axes.length > 0 ? tf.sum(dy, axes) : dy, shape);
}

/** dy of a sum over `axis` → spread over x again, with length 1 where x was summed. */
function keepAxes(dy: T, x: T, axis: number | number[] | null): T {
  const axes = tf.util.parseAxisParam(axis ?? x.shape.map((_, i) => i), x.shape);
  return tf.reshape(
    dy,
    x.shape.map((length, i) => (axes.includes(i) ? 1 : length)),
  );
}

const spread = (dy: T, x: T): T => tf.mul(dy, tf.onesLike(x));

const kernels: Config[] = [
  // Arithmetic.
  ofTwo(
    tf.Add,
    (dy) => dy,
    (dy) => dy,
  ),
  ofTwo(
    tf.Sub,
    (dy) => dy,
    (dy) => tf.neg(dy),
  ),
  ofTwo(
    tf.Multiply,
    (dy, _, b) => tf.mul(dy, b),
    (dy, a) => tf.mul(dy, a),
  ),
  ofTwo(
    tf.RealDiv,
    (dy, _, b) => tf.div(dy, b),
    (dy, a, b) => tf.neg(tf.div(tf.mul(dy, a), tf.square(b))),
  ),
  // Of two alike the first counts.
  ofTwo(
    tf.Maximum,
    (dy, a, b) => tf.mul(dy, tf.greaterEqual(a, b)),
    (dy, a, b) => tf.mul(dy, tf.less(a, b)),
  ),
  ofTwo(
    tf.Minimum,
    (dy, a, b) => tf.mul(dy, tf.lessEqual(a, b)),
    (dy, a, b) => tf.mul(dy, tf.greater(a, b)),
  ),
  ofInput(tf.Abs, (dy, x) => tf.mul(dy, tf.sign(x))),
  kernel(tf.Neg, {}, (dy) => ({ x: () => tf.neg(dy) })),
  ofInput(tf.Square, (dy, x) => tf.mul(dy, tf.mul(x, 2))),
  ofOutput(tf.Sqrt, (dy, y) => tf.div(dy, tf.mul(y, 2))),
  ofOutput(tf.Rsqrt, (dy, y) => tf.mul(dy, tf.mul(tf.mul(y, tf.square(y)), -0.5))), // −x^(−3/2) / 2
  ofOutput(tf.Exp, (dy, y) => tf.mul(dy, y)),
  ofInput(tf.Log, (dy, x) => tf.div(dy, x)),

  // Activations.
  ofOutput(tf.Sigmoid, (dy, y) => tf.mul(dy, tf.mul(y, tf.sub(1, y)))),
  ofOutput(tf.Tanh, (dy, y) => tf.mul(dy, tf.sub(1, tf.square(y)))),
  ofInput(tf.Erf, (dy, x) => tf.mul(dy, tf.mul(tf.exp(tf.neg(tf.square(x))), 2 / Math.sqrt(Math.PI)))),
  ofInput(tf.Relu, (dy, x) => tf.mul(dy, tf.step(x))),
  ofInput(tf.Softplus, (dy, x) => tf.mul(dy, tf.sigmoid(x))),
  kernel(tf.Softmax, { outputsToSave: [true] }, (dy, [y]) => ({
    logits: () => {
      const share = tf.mul(dy, y);
      return tf.sub(share, tf.mul(y, tf.sum(share, -1, true)));
    },
  })),
  kernel(tf.LogSoftmax, { outputsToSave: [true] }, (dy, [y]) => ({
    logits: () => tf.sub(dy, tf.mul(tf.exp(y), tf.sum(dy, -1, true))),
  })),

  // Sums and products.
  kernel(tf.Sum, { inputsToSave: ['x'] }, (dy, [x], { axis }) => ({
    x: () => spread(keepAxes(dy, x, axis), x),
  })),
  kernel(tf.Mean, { inputsToSave: ['x'] }, (dy, [x], { axis }) => ({
    x: () => spread(tf.mul(keepAxes(dy, x, axis), dy.size / x.size), x),
  })),
  kernel(tf.BatchMatMul, { inputsToSave: ['a', 'b'] }, (dy, [a, b], { transposeA, transposeB }) => {
    if (transposeA) throw new Error('no layer multiplies a transposed matrix from the left');
    return {
      a: () => tf.matMul(dy, b, false, !transposeB),
      b: () => (transposeB ? tf.matMul(dy, a, true, false) : tf.matMul(a, dy, true, false)),
    };
  }),

  // What only moves numbers moves them back.
  kernel(tf.Identity, {}, (dy) => ({ x: () => tf.clone(dy) })),
  kernel(tf.Cast, {}, (dy) => ({ x: () => tf.clone(dy) })), // of float32 to itself; integers have no gradient
  kernel(tf.Reshape, { inputsToSave: ['x'] }, (dy, [x]) => ({ x: () => tf.reshape(dy, x.shape) })),
  kernel(tf.Transpose, {}, (dy, _, { perm }) => ({ x: () => tf.transpose(dy, invert(perm)) })),
  kernel(tf.Concat, { saveAllInputs: true }, (dy, parts, { axis }) => {
    const at = tf.util.parseAxisParam(axis, parts[0].shape)[0];
    const sizes = parts.map(({ shape }) => shape[at]);
    const pieces = tf.split(dy, sizes, at);
    return Object.fromEntries(pieces.map((piece, i) => [String(i), () => tf.clone(piece)]));
  }),
  kernel(tf.Pack, { saveAllInputs: true }, (dy, _, { axis }) => {
    const pieces = tf.unstack(dy, axis);
    return Object.fromEntries(pieces.map((piece, i) => [String(i), () => tf.clone(piece)]));
  }),
  kernel(tf.SplitV, {}, (dy, _, { axis }) => ({ x: () => tf.concat(dy as unknown as T[], axis) })),
  kernel(tf.Slice, { inputsToSave: ['x'] }, (dy, [x], { begin }) => ({
    x: () => tf.pad(dy, paddingAround(dy.shape, begin, x.shape)),
  })),
  kernel(tf.Tile, { inputsToSave: ['x'] }, (dy, [x], { reps }) => ({ x: () => sumTiles(dy, x.shape, reps) })),
  kernel(tf.GatherV2, { inputsToSave: ['x', 'indices'] }, (dy, [x, indices], { axis, batchDims }) => {
    if (axis !== 0 || (batchDims ?? 0) !== 0) throw new Error('only rows are gathered');
    const rows = tf.reshape(dy, [indices.size, ...x.shape.slice(1)]);
    return { x: () => tf.unsortedSegmentSum(rows, tf.reshape(indices, [indices.size]), x.shape[0]) };
  }),
];

const invert = (perm: number[]): number[] => perm.map((_, i) => perm.indexOf(i));

function paddingAround(part: number[], begin: number[], whole: number[]): [number, number][] {
  return whole.map((length, i) => [begin[i], length - begin[i] - part[i]]);
}

/** [r₀·s₀, r₁·s₁, …] → [r₀, s₀, r₁, s₁, …], summed over the repetitions. */
function sumTiles(dy: T, shape: number[], reps: number[]): T {
  const split = shape.flatMap((length, i) => [reps[i], length]);
  return tf.reshape(
    tf.sum(
      tf.reshape(dy, split),
      shape.map((_, i) => 2 * i),
    ),
    shape,
  );
}
