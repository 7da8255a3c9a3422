import { dot, softmax, type Matrix, type Vector } from './ops.ts';

/** [T, H·C] → [H][T, C] */
export function splitHeads(x: Matrix, heads: number): Matrix[] {
  const C = x[0].length / heads;
  return Array.from({ length: heads }, (_, h) => x.map((row) => row.slice(h * C, (h + 1) * C)));
}

/** [H][T, C] → [T, H·C] */
export function mergeHeads(x: Matrix[]): Matrix {
  return x[0].map((_, t) => x.flatMap((head) => head[t]));
}

/**
 * Attention of one item, query by query.
 * @param q [H][Tq, C]
 * @param k [G][Tk, C]; query head h reads key/value head ⌊h·G/H⌋
 * @param v [G][Tk, C]
 * @param sees what else a query of a head may look at
 * @param weights times what a head gives to a key, after the softmax
 * @param causal the queries are the last Tq of the Tk tokens, and none sees a later one
 */
export function attend(
  q: Matrix[],
  k: Matrix[],
  v: Matrix[],
  causal = false,
  sees: (h: number, i: number, j: number) => boolean = () => true,
  weights: (h: number, j: number) => number = () => 1,
): { context: Matrix[]; probabilities: Matrix[] } {
  const context: Matrix[] = [];
  const probabilities: Matrix[] = [];
  for (let h = 0; h < q.length; h++) {
    const g = Math.floor((h * k.length) / q.length);
    const past = k[g].length - q[h].length;
    probabilities[h] = q[h].map((query, i) => {
      const seen = causal ? k[g].slice(0, past + i + 1) : k[g];
      const row = softmax(
        seen.map((key, j) => (sees(h, i, j) ? dot(query, key) / Math.sqrt(query.length) : -Infinity)),
      );
      return k[g].map((_, j) => (row[j] ?? 0) * weights(h, j));
    });
    context[h] = probabilities[h].map((row) => v[g][0].map((_, c) => dot(row, column(v[g], c))));
  }
  return { context, probabilities };
}

/** The attention of one query a head: q [H, C], k [H][T, C] → [H, T]. */
export function attendRow(q: Matrix, k: Matrix[]): Matrix {
  return q.map((query, h) => softmax(k[h].map((key) => dot(query, key) / Math.sqrt(query.length))));
}

const column = (x: Matrix, c: number): Vector => x.map((row) => row[c]);
