import * as tf from '@tensorflow/tfjs-core';
import { shape } from '../tensor/axes.ts';

/** Per-layer scores, K of [B, P] → one score a patch, [B, P]. */
export type Ensemble = (scores: tf.Tensor2D[]) => tf.Tensor2D;

/** The names of {@link ensembles}. */
export const ensembleNames = ['sum', 'mean', 'max', 'min', 'rank-mean'] as const;
/** One of them. */
export type EnsembleName = (typeof ensembleNames)[number];

/**
 * The ways to agree over K layers. The paper's is the sum; the mean ranks the same. The maximum keeps what any layer
 * looks at, the minimum what every layer looks at, and the mean of ranks lets no layer speak louder than another.
 */
export const ensembles: Record<EnsembleName, Ensemble> = {
  'sum': (scores) => tf.tidy(() => tf.sum(tf.stack(scores), 0)),
  'mean': meanOfLayers,
  'max': (scores) => tf.tidy(() => tf.max(tf.stack(scores), 0)),
  'min': (scores) => tf.tidy(() => tf.min(tf.stack(scores), 0)),
  'rank-mean': (scores) => tf.tidy(() => meanOfLayers(scores.map(rank))),
};

/** The sum first: divided one by one, as `tf.mean` does on cpu, what is equal in sum would differ by rounding. */
function meanOfLayers(scores: tf.Tensor2D[]): tf.Tensor2D {
  return tf.tidy(() => tf.div(tf.sum(tf.stack(scores), 0), scores.length));
}

/**
 * Each patch's rank among its picture's, 0 for the smallest score to P − 1 for the largest: how many patches it
 * beats. Of two equal scores the lower index beats the other, as in top-k.
 * @param scores [B, P]
 * @returns [B, P] float32
 */
export function rank(scores: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => {
    const { B, P } = shape({ scores }, 'B P');
    const mine = tf.reshape(scores, [B, P, 1]);
    const other = tf.reshape(scores, [B, 1, P]);
    const index = tf.range(0, P);
    const before = tf.less(tf.reshape(index, [P, 1]), tf.reshape(index, [1, P])); // [P, P]: mine stands first
    const beats = tf.logicalOr(tf.greater(mine, other), tf.logicalAnd(tf.equal(mine, other), before));
    return tf.sum(tf.cast(beats, 'float32'), 2); // [B, P]
  });
}
