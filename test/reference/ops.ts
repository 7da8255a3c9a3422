/**
 * Naive twins of src/tensor in float64, straight from the formulas. A twin knows no batch: it takes one item, as
 * nested arrays, and a test maps it over the batch.
 */
import type { ActivationName } from '../../src/tensor/activation.ts';
import type { Linear } from '../../src/tensor/linear.ts';
import type { LayerNorm } from '../../src/tensor/norm.ts';
import type { Arrays } from '../support/random.ts';

export type Vector = number[];
export type Matrix = number[][];

export const sum = (values: Vector): number => values.reduce((total, x) => total + x, 0);
export const mean = (values: Vector): number => sum(values) / values.length;
export const dot = (a: Vector, b: Vector): number => sum(a.map((x, i) => x * b[i]));
export const addRows = (a: Matrix, b: Matrix): Matrix => a.map((row, t) => row.map((x, d) => x + b[t][d]));

/** yₒ = Σᵢ xᵢ·Wᵢₒ + bₒ for each row x of [T, in]; W is [in, out]. */
export function linear(x: Matrix, { weight, bias }: Arrays<Linear>): Matrix {
  return x.map((row) =>
    weight[0].map((_, o) => {
      let y = bias ? bias[o] : 0;
      for (let i = 0; i < row.length; i++) y += row[i] * weight[i][o];
      return y;
    }),
  );
}

export function layerNorm(x: Matrix, { weight, bias }: Arrays<LayerNorm>, eps: number): Matrix {
  return x.map((row) => {
    const m = mean(row);
    const variance = mean(row.map((v) => (v - m) ** 2));
    return row.map((v, d) => ((v - m) / Math.sqrt(variance + eps)) * weight[d] + bias[d]);
  });
}

export function rmsNorm(x: Matrix, weight: Vector, eps: number): Matrix {
  return x.map((row) => {
    const rms = Math.sqrt(mean(row.map((v) => v * v)) + eps);
    return row.map((v, e) => (v / rms) * weight[e]);
  });
}

/** erf x = 2/√π · e^(−x²) · Σ 2ⁿ·x^(2n+1) / (1·3·5···(2n+1)): all terms of one sign, so nothing cancels. */
export function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x); // 1 − erf 6 = 2e-17
  let term = x;
  let total = 0;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(total); n++) {
    total += term;
    term *= (2 * x * x) / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}

const geluTanh = (x: number): number =>
  (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const silu = (x: number): number => x / (1 + Math.exp(-x));

export const activations: Record<ActivationName, (x: number) => number> = {
  quick_gelu: (x) => x / (1 + Math.exp(-1.702 * x)),
  gelu: (x) => (x / 2) * (1 + erf(x / Math.SQRT2)),
  gelu_pytorch_tanh: geluTanh,
  gelu_new: geluTanh,
  silu,
  swish: silu,
  relu: (x) => Math.max(x, 0),
};

export const activate = (x: Matrix, name: ActivationName): Matrix =>
  x.map((row) => row.map(activations[name]));

export function softmax(scores: Vector): Vector {
  const largest = Math.max(...scores);
  const weights = scores.map((s) => Math.exp(s - largest));
  return weights.map((w) => w / sum(weights));
}
