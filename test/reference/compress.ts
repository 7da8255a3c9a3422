import type { EnsembleName } from '../../src/compress/ensemble.ts';
import { mean, sum, type Matrix, type Vector } from './ops.ts';

/** [H, P] → [P]: the mean over heads. */
export const scoreByCls = (clsAttention: Matrix): Vector =>
  clsAttention[0].map((_, p) => mean(clsAttention.map((head) => head[p])));

/** How many of the others each score beats; of equal ones the first beats the later. */
export function rank(scores: Vector): Vector {
  return scores.map(
    (mine, i) => scores.filter((other, j) => mine > other || (mine === other && i < j)).length,
  );
}

/** The K layers' scores [K, P] → [P]. */
export function ensemble(name: EnsembleName, layers: Matrix): Vector {
  const perPatch = (agree: (scores: Vector) => number, of = layers): Vector =>
    of[0].map((_, p) => agree(of.map((scores) => scores[p])));
  switch (name) {
    case 'sum':
      return perPatch(sum);
    case 'mean':
      return perPatch(mean);
    case 'max':
      return perPatch((scores) => Math.max(...scores));
    case 'min':
      return perPatch((scores) => Math.min(...scores));
    case 'rank-mean':
      return perPatch(mean, layers.map(rank));
  }
}

/** Takes the best patch U times, the first of equal ones; then raster order. */
export function topK(scores: Vector, U: number): Vector {
  const kept: Vector = [];
  while (kept.length < U) {
    let best = -1;
    for (let i = 0; i < scores.length; i++) {
      if (!kept.includes(i) && (best < 0 || scores[i] > scores[best])) best = i;
    }
    kept.push(best);
  }
  return kept.sort((a, b) => a - b);
}

/** FasterVLM (2412.01818): one layer's full attention [H][N, N], the [CLS] row, head mean, the U best. */
export function fasterVlm(attention: Matrix[], U: number): Vector {
  const [heads, N] = [attention.length, attention[0].length];
  const scores: Vector = [];
  for (let patch = 1; patch < N; patch++) {
    let total = 0;
    for (let h = 0; h < heads; h++) total += attention[h][0][patch];
    scores.push(total / heads);
  }
  return topK(scores, U);
}
