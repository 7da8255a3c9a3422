/** Which patches stay, over all that is asked: where a method is blind, and whether it falls for sinks. */
import * as tf from '@tensorflow/tfjs-core';
import { findOutliers } from '../../compress/outliers.ts';
import { scope } from '../../tensor/scope.ts';

/** Counted over questions, so that parts of a task join exactly. */
export interface KeptCounts {
  questions: number;
  /** For how many questions the decoder's last layer still had each patch as itself: [P]. */
  counts: number[];
  /** Of all these, patches that are {@link findSinks sinks}. */
  sinks: number;
}

export const noneKept = (P: number): KeptCounts => ({
  questions: 0,
  counts: Array<number>(P).fill(0),
  sinks: 0,
});

/** One question's kept patches more. */
export function countKept(into: KeptCounts, kept: readonly number[], isSink: readonly boolean[]): void {
  into.questions++;
  for (const patch of kept) {
    into.counts[patch]++;
    if (isSink[patch]) into.sinks++;
  }
}

export function joinKept(parts: readonly KeptCounts[]): KeptCounts {
  const joined = noneKept(parts[0].counts.length);
  for (const { questions, counts, sinks } of parts) {
    joined.questions += questions;
    joined.sinks += sinks;
    for (const [patch, count] of counts.entries()) joined.counts[patch] += count;
  }
  return joined;
}

/** A method's counts as shares. */
export interface Kept {
  /** Of the questions, for each patch: [P]. */
  shares: number[];
  /** Of the kept patches, those that are sinks. */
  sinks: number;
}

export function keptOf({ questions, counts, sinks }: KeptCounts): Kept {
  const all = counts.reduce((sum, count) => sum + count, 0);
  return { shares: counts.map((count) => count / questions), sinks: all === 0 ? 0 : sinks / all };
}

/**
 * The patches whose features are longer than the others': sinks that attention runs into, and where large towers keep what
 * belongs to no place (Darcet et al., 2309.16588). By Tukey's rule, in each picture
 *
 *     ‖F_p‖₂ > Q₃ + 1.5·(Q₃ − Q₁)
 *
 * @param F [B, P, D]
 * @returns [B][P]
 */
export async function findSinks(F: tf.Tensor3D): Promise<boolean[][]> {
  using own = scope();
  const norms = own(tf.norm(F, 'euclidean', 2));
  return ((await norms.array()) as number[][]).map(findOutliers);
}
