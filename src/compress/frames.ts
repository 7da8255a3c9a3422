/** The frames of a clip as one picture: a choice over all their patches together, however many each is left with. */
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { firstOf, type TokenMatrix } from '../tensor/token-matrix.ts';
import { wholeFeatures } from '../vision/features.ts';
import type { Sight } from '../vision/tower.ts';
import type { Method, Source, Stages } from './method.ts';

/** Of several pictures of a prompt: the budget is each one's, or that of one choice over all their patches. */
export const frameChoices = ['each', 'all'] as const;
/** One of {@link frameChoices}. */
export type FrameChoice = (typeof frameChoices)[number];

/** What a method may know where F pictures are one to it: no grid holds their patches. */
export const joinSource = (source: Source, F: number): Source => ({
  ...source,
  patches: F * source.patches,
  grid: undefined,
  visualTokens: F * source.visualTokens,
});

/**
 * @throws UserError for a method that reads what the pictures do not share: in the tower each is by itself, and so are its
 *   attention and its keys; only rows of [CLS] lie side by side
 */
export function checkJoined({ name }: Method, { inTower, needs = {} }: Stages, keepsCls: boolean): void {
  const why = inTower
    ? 'acts in the tower, which sees one at a time'
    : [needs.attention, needs.keys, needs.hidden].some((layers) => layers?.length)
      ? 'reads more of each by itself than [CLS] attends to'
      : keepsCls
        ? 'would choose beside a [CLS] of each, which this checkpoint keeps'
        : undefined;
  if (why) throw new UserError(`--frames all: ${name} ${why}`);
}

/**
 * F pictures of the tower as one, patch behind patch: F [B, F·P, D], rows of [CLS] [B, H, F·P], each frame's softmax its own.
 * @param sight of B·F pictures; it stays the caller's
 * @returns the caller disposes it
 */
export function joinFrames(sight: Sight, F: number): Sight {
  const B = sight.B / F;
  const [, P, D] = sight.features.F().shape;
  const features: tf.Tensor3D = tf.reshape(sight.features.F(), [B, F * P, D]);
  return {
    B,
    clsAttention: new Map([...sight.clsAttention].map(([l, rows]) => [l, joinRows(rows, B)])),
    attention: new Map(),
    keys: new Map(),
    hidden: new Map(),
    features: wholeFeatures({ F: features }), // without [CLS], of which there are F
  };
}

/** [B·F, H, P] → [B, H, F·P] */
const joinRows = (rows: tf.Tensor3D, B: number): tf.Tensor3D =>
  tf.tidy(() => {
    const [pictures, H, P] = rows.shape;
    const apart = tf.reshape(rows, [B, pictures / B, H, P]);
    return tf.reshape(tf.transpose(apart, [0, 2, 1, 3]), [B, H, (pictures / B) * P]);
  });

/** How many of the tokens each of F pictures is left with, [B][F]. A token of patches of several is the first one's. */
export const countRuns = ({ rows, columns }: TokenMatrix, F: number): number[][] =>
  rows.map((tokens) =>
    Array.from(
      { length: F },
      (_, f) => tokens.filter((row) => Math.floor(firstOf(row) / (columns / F)) === f).length,
    ),
  );
