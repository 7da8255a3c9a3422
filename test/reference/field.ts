/** Naive float64 twins of the vision-side methods, straight from the formulas; one picture each. */
import type { ClipVisionConfig } from '../../src/vision/config.ts';
import type { ClipVisionWeights } from '../../src/vision/weights.ts';
import type { Arrays } from '../support/random.ts';
import { mergeHeads, splitHeads } from './attention.ts';
import { scoreByCls, topK } from './compress.ts';
import {
  activate,
  addRows,
  dot,
  layerNorm,
  linear,
  mean,
  softmax,
  sum,
  type Matrix,
  type Vector,
} from './ops.ts';
import { embedImage } from './vision.ts';

/** What the methods look at, of one picture. */
export interface Picture {
  F: Matrix; // [P, D]
  Z: Matrix; // [P, E], projected
  cls: Vector; // [D], F of [CLS]
  rows: Matrix[]; // [CLS] rows of the last layers, [K][H, P]
  attention: Matrix[]; // [H][N, N]
  keys: Matrix[]; // [H][N, C]
  relevance: Vector; // [P], the cosines of patches and question
}

const cosine = (a: Vector, b: Vector): number => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
const every = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const rest = (P: number, taken: number[]): number[] => every(P).filter((p) => !taken.includes(p));
const total = (rows: Matrix): Vector => rows[0].map((_, d) => sum(rows.map((row) => row[d])));
const scale = (row: Vector, by: number): Vector => row.map((x) => x * by);
const average = (rows: Matrix): Vector => scale(total(rows), 1 / rows.length);
const ascending = (places: number[]): number[] => [...places].sort((a, b) => a - b);
/** Places of a list, largest value first, the earlier one of equals. */
const order = (values: Vector): number[] =>
  every(values.length).sort((i, j) => values[j] - values[i] || i - j);
const variance = (values: Vector): number => mean(values.map((x) => (x - mean(values)) ** 2));

export const fopruScores = ({ attention }: Picture): Vector => {
  const P = attention[0].length - 1;
  const A = (i: number, j: number) => mean(attention.map((head) => head[i + 1][j + 1]));
  const received = every(P).map((j) => mean(every(P).map((i) => A(i, j))));
  const paid = every(P).map((i) => mean(every(P).map((j) => A(i, j))));
  return variance(received) >= variance(paid) ? received : paid;
};

export function fopruRows(picture: Picture, U: number): number[] {
  const scores = fopruScores(picture);
  const G = Math.sqrt(scores.length);
  const sums = every(G).map((row) => sum(scores.slice(row * G, (row + 1) * G)));
  return topK(sums, Math.floor(U / G)).flatMap((row) => every(G).map((column) => row * G + column));
}

export function visPruner({ F, rows }: Picture, U: number, share: number): number[] {
  const I = Math.floor(U * share);
  const ranked = order(scoreByCls(rows.at(-1)!));
  let left = ranked.slice(I);
  while (U > I && left.length > U - I) {
    const even = left.filter((_, i) => i % 2 === 0);
    const odd = left.filter((_, i) => i % 2 === 1);
    const alike = even.map((p) => Math.max(...odd.map((q) => cosine(F[p], F[q]))));
    const drop = Math.min(8, left.length - (U - I));
    left = [
      ...order(alike)
        .slice(drop)
        .map((i) => even[i]),
      ...odd,
    ];
  }
  return ascending([...ranked.slice(0, I), ...(U > I ? left : [])]);
}

/** Max-min diversity, beginning with what is chosen. */
export function spreadOut(Z: Matrix, chosen: number[], U: number): number[] {
  const far = (p: number, from: number[]) => Math.min(...from.map((q) => 1 - cosine(Z[p], Z[q])));
  const kept = [...chosen];
  while (kept.length < U) {
    const left = rest(Z.length, kept);
    const distances = left.map((p) => far(p, kept.length > 0 ? kept : rest(Z.length, [p])));
    kept.push(left[order(distances)[0]]);
  }
  return ascending(kept);
}

/** @returns the determinant of a square matrix, by elimination with pivots; 1 of an empty one */
function determinant(M: Matrix): number {
  if (M.length === 0) return 1;
  const pivot = order(M.map((row) => Math.abs(row[0])))[0];
  const [first, others] = [M[pivot], M.filter((_, i) => i !== pivot)];
  if (first[0] === 0) return 0;
  const minor = others.map((row) => row.slice(1).map((x, j) => x - (row[0] / first[0]) * first[j + 1]));
  return (pivot % 2 ? -1 : 1) * first[0] * determinant(minor);
}

/** Each time the patch that makes det(L) of those kept the largest, by determinants. */
export function cdPruner({ Z, relevance: c }: Picture, U: number): number[] {
  const [least, most] = [Math.min(...c), Math.max(...c)];
  const r = c.map((x) => (most > least ? (most - x + 1e-6) / (most - least) : 1));
  const L = (p: number, q: number) => r[p] * cosine(Z[p], Z[q]) * r[q];
  const det = (places: number[]) => determinant(places.map((p) => places.map((q) => L(p, q))));
  const kept: number[] = [];
  const basis: number[] = []; // of those kept, the ones that are no combination of others
  while (kept.length < U) {
    const left = rest(Z.length, kept);
    const grows = left
      .map((p) => det([...basis, p]) / det(basis))
      .map((x, i) => (x < 1e-6 * r[left[i]] ** 2 ? 0 : x));
    const best = order(grows)[0];
    if (grows[best] > 0) basis.push(left[best]);
    kept.push(grows[best] > 0 ? left[best] : left[order(left.map((p) => r[p]))[0]]);
  }
  return ascending(kept);
}

export const hybrid = ({ Z, rows }: Picture, U: number, share: number): number[] => {
  const scores = total(rows.map(scoreByCls));
  return spreadOut(Z, order(scores).slice(0, Math.round(U * share)), U);
};

export function visionZip(picture: Picture, U: number, contextual: number, withCls: boolean): Matrix {
  const { F, rows, keys, cls } = picture;
  const first = withCls ? 1 : 0;
  const C = Math.min(U - first, Math.round(U * contextual));
  const scores = total(rows.at(-1)!);
  const dominant = U - first - C > 0 ? topK(scores, U - first - C) : [];
  const others = rest(F.length, dominant);
  const targets = every(C).map((i) => others[i * Math.floor(others.length / C)]);
  const m = (p: number) => average(keys.map((head) => head[p + 1]));
  const home = (p: number) => targets[order(targets.map((t) => cosine(m(p), m(t))))[0]];
  const gathered = targets.map((t) => {
    const mine = others.filter((p) => !targets.includes(p) && home(p) === t).map((p) => F[p]);
    return mine.length > 0 ? total([F[t], average(mine)]) : F[t];
  });
  return [...(withCls ? [cls] : []), ...dominant.map((p) => F[p]), ...gathered];
}

/** @param n how many centres; of PruMerge+ some by attention and some spread */
export function pruMerge({ F, rows, keys }: Picture, n: number, neighbours: number, plus: boolean): Matrix {
  const P = F.length;
  const a = scoreByCls(rows.at(-1)!);
  const top = order(a).slice(0, plus ? Math.round(n / 4) : n);
  const spare = rest(P, top);
  const m = n - top.length;
  const centres = ascending([
    ...top,
    ...every(m).map((i) => spare[Math.floor(((i + 0.5) * spare.length) / m + 1e-9)]),
  ]);
  const k = (p: number) => keys.flatMap((head) => head[p + 1]);
  const tokens = centres.map((c) => {
    const others = rest(P, [c]);
    const near = order(others.map((q) => cosine(k(c), k(q)))).slice(0, neighbours);
    return total([F[c], ...near.map((i) => scale(F[others[i]], a[others[i]]))]);
  });
  const zero = F[0].map(() => 0);
  return [...tokens, total([zero, ...rest(P, centres).map((p) => scale(F[p], a[p]))])];
}

export function dpcKnn({ F }: Picture, U: number, k: number): Matrix {
  const P = F.length;
  const d = (p: number, q: number) => Math.sqrt(mean(F[p].map((x, i) => (x - F[q][i]) ** 2)));
  const density = every(P).map((p) => {
    const near = ascending(every(P).map((q) => d(p, q))).slice(0, k);
    return Math.exp(-mean(near.map((x) => x * x)));
  });
  const largest = Math.max(...every(P).flatMap((p) => every(P).map((q) => d(p, q))));
  const gamma = every(P).map((p) => {
    const denser = order(density).slice(0, order(density).indexOf(p));
    return density[p] * (denser.length > 0 ? Math.min(...denser.map((q) => d(p, q))) : largest);
  });
  const centres = topK(gamma, U);
  const home = (p: number) => (centres.includes(p) ? p : centres[order(centres.map((c) => -d(p, c)))[0]]);
  return centres.map((c) =>
    average(
      every(P)
        .filter((p) => home(p) === c)
        .map((p) => F[p]),
    ),
  );
}

export function pooling({ F }: Picture, U: number, pattern: 'raster' | 'grid'): Matrix {
  const runOf = (x: number, length: number, n: number) =>
    every(n).findIndex((i) => x >= Math.floor((i * length) / n) && x < Math.floor(((i + 1) * length) / n));
  const G = Math.sqrt(F.length);
  const bands = Math.round(Math.sqrt(U));
  const before = (band: number) => Math.floor((band * U) / bands);
  const cellOf = (p: number) => {
    if (pattern === 'raster') return runOf(p, F.length, U);
    const band = runOf(Math.floor(p / G), G, bands);
    return before(band) + runOf(p % G, G, before(band + 1) - before(band));
  };
  return every(U).map((cell) => average(F.filter((_, p) => cellOf(p) === cell)));
}

/**
 * ToMe's tower over one picture: what `depth` layers leave of it, [1 + U, D].
 * @param merges r of each layer
 */
export function tomeTower(
  weights: Arrays<ClipVisionWeights>,
  pixels: number[][][],
  config: ClipVisionConfig,
  merges: number[],
): { hidden: Matrix; sizes: Vector } {
  const { num_attention_heads: H, layer_norm_eps: eps, hidden_act } = config;
  let x = embedImage(weights, pixels, config);
  let sizes = x.map(() => 1);
  for (const [l, r] of merges.entries()) {
    const { layer_norm1, layer_norm2, self_attn, mlp } = weights.layers[l];
    const normed = layerNorm(x, layer_norm1, eps);
    const [q, k, v] = [self_attn.q_proj, self_attn.k_proj, self_attn.v_proj].map((w) =>
      splitHeads(linear(normed, w), H),
    );
    const context = q.map((head, h) =>
      head.map((query) => {
        const scores = k[h].map((key, j) => dot(query, key) / Math.sqrt(key.length) + Math.log(sizes[j]));
        return total(softmax(scores).map((p, j) => scale(v[h][j], p)));
      }),
    );
    const mixed = addRows(x, linear(mergeHeads(context), self_attn.out_proj));
    const m = x.map((_, t) => average(k.map((head) => head[t])));
    // The r best pairs of an even token but [CLS] and its best odd one.
    const odd = every(x.length).filter((t) => t % 2 === 1);
    const pairs = every(x.length)
      .filter((t) => t % 2 === 0 && t > 0)
      .map((a) => {
        const alike = odd.map((b) => cosine(m[a], m[b]));
        return { a, b: odd[order(alike)[0]], alike: Math.max(...alike) };
      });
    const merged = order(pairs.map(({ alike }) => alike))
      .slice(0, r)
      .map((i) => pairs[i]);
    const groups = rest(
      x.length,
      merged.map(({ a }) => a),
    ).map((t) => [t, ...merged.filter(({ b }) => b === t).map(({ a }) => a)]);
    const newSizes = groups.map((group) => sum(group.map((t) => sizes[t])));
    const y = groups.map((group, g) =>
      scale(total(group.map((t) => scale(mixed[t], sizes[t]))), 1 / newSizes[g]),
    );
    sizes = newSizes;
    const inner = activate(linear(layerNorm(y, layer_norm2, eps), mlp.fc1), hidden_act);
    x = addRows(y, linear(inner, mlp.fc2));
  }
  return { hidden: x, sizes };
}
