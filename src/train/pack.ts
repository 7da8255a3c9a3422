/**
 * Several questions about one picture in one sequence, so that the picture is read once:
 *
 *     [text before | picture | question₁ answer₁ | question₂ answer₂ | …]
 *
 * Each question sees what stands before it all, and itself; its positions go on from the picture's end, as if it were
 * alone. Questions are filled up to one length, so that one mask and one row of positions serve the whole batch.
 */
import * as tf from '@tensorflow/tfjs-core';
import { MASKED } from '../tensor/attention.ts';

/** Where things are in every packed sequence. */
export interface Layout {
  /** Tokens before the questions: text and picture. */
  prefix: number;
  /** Questions. */
  questions: number;
  /** Tokens of a question with its answer, filled up. */
  slot: number;
}

/** A question behind the picture, and the tokens to be answered, the last of which ends the answer. */
export interface AskedTokens {
  ask: number[];
  answer: number[];
}

/** A batch of packed questions, on the host. */
export interface Packed {
  layout: Layout;
  /** The tokens behind the picture, [B][questions · slot]. */
  after: number[][];
  /** Rows of [B · T] whose logits are to say the targets. */
  rows: number[];
  targets: number[];
}

/**
 * @param batch B times the same number of questions
 * @param prefix tokens before them, picture included
 * @param filler a token for the places that nothing sees
 */
export function packQuestions(batch: readonly AskedTokens[][], prefix: number, filler: number): Packed {
  const questions = batch[0].length;
  // The answer's last token is only ever a target.
  const slot = Math.max(...batch.flat().map(({ ask, answer }) => ask.length + answer.length - 1));
  const T = prefix + questions * slot;
  const packed: Packed = { layout: { prefix, questions, slot }, after: [], rows: [], targets: [] };
  for (const [b, items] of batch.entries()) {
    const after: number[] = [];
    for (const [q, { ask, answer }] of items.entries()) {
      const tokens = [...ask, ...answer.slice(0, -1)];
      after.push(...tokens, ...Array.from({ length: slot - tokens.length }, () => filler));
      const first = b * T + prefix + q * slot + ask.length - 1; // the last token of the question says the answer
      answer.forEach((target, i) => {
        packed.rows.push(first + i);
        packed.targets.push(target);
      });
    }
    packed.after.push(after);
  }
  return packed;
}

/** The place that each token would have if its question were the only one: [1, T] int32. */
export function packedPositions({ prefix, questions, slot }: Layout): tf.Tensor2D {
  const row = Array.from({ length: prefix + questions * slot }, (_, t) =>
    t < prefix ? t : prefix + ((t - prefix) % slot),
  );
  return tf.tensor2d([row], [1, row.length], 'int32');
}

/** Who sees whom: causal, and no question sees another. [T, T], 0 or {@link MASKED}. */
export function packedMask({ prefix, questions, slot }: Layout): tf.Tensor2D {
  const T = prefix + questions * slot;
  const question = (t: number) => (t < prefix ? -1 : Math.floor((t - prefix) / slot));
  const values = new Float32Array(T * T);
  for (let i = 0; i < T; i++) {
    for (let j = 0; j < T; j++) {
      const seen = j <= i && (question(j) === -1 || question(j) === question(i));
      if (!seen) values[i * T + j] = MASKED;
    }
  }
  return tf.tensor2d(values, [T, T]);
}
