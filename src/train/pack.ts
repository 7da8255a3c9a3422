/**
 * Several questions about one picture in one sequence, so that the picture is read once:
 *
 *     [text before | picture | question₁ answer₁ | question₂ answer₂ | …]
 *
 * Each question sees what stands before it all, and itself; its positions go on from the picture's end, or a gap behind
 * it, as if it were alone. The n-th questions of all pictures are filled up to one length, so that one mask and one row of positions serve
 * the whole batch.
 */
import * as tf from '@tensorflow/tfjs-core';
import { MASKED } from '../tensor/attention.ts';
import type { Question } from '../world/questions.ts';

/** Where things are in every packed sequence. */
export interface Layout {
  /** Tokens before the questions: text and picture. */
  prefix: number;
  /** Tokens of each question with its answer, filled up. */
  slots: number[];
  /** How many places behind the picture's end each question begins, as after earlier turns of a conversation. */
  gaps: number[];
}

/** A question behind the picture, and the tokens to be answered, the last of which ends the answer. */
export interface AskedTokens {
  ask: number[];
  answer: number[];
}

/** A batch of packed questions, on the host. */
export interface Packed {
  layout: Layout;
  /** The tokens behind the picture, [B][sum of the slots]. */
  after: number[][];
  /** Rows of [B · T] whose logits are to say the targets. */
  rows: number[];
  targets: number[];
  /** Where each answer begins among the targets, [B][questions]. */
  firsts: number[][];
}

/** A batch's questions as the decoder takes them. */
export interface Prompted<Q = Question> {
  before: number[];
  packed: Packed;
  questions: Q[][]; // [B][questions]
}

/**
 * @param batch B times the same number of questions
 * @param prefix tokens before them, picture included
 * @param filler a token for the places that nothing sees
 */
export function packQuestions(
  batch: readonly AskedTokens[][],
  prefix: number,
  filler: number,
  gaps: number[] = batch[0].map(() => 0),
): Packed {
  // The answer's last token is only ever a target.
  const lengthOf = ({ ask, answer }: AskedTokens) => ask.length + answer.length - 1;
  const slots = batch[0].map((_, q) => Math.max(...batch.map((items) => lengthOf(items[q]))));
  const starts = slots.map((_, q) => prefix + sum(slots.slice(0, q)));
  const T = prefix + sum(slots);
  const packed: Packed = { layout: { prefix, slots, gaps }, after: [], rows: [], targets: [], firsts: [] };
  for (const [b, items] of batch.entries()) {
    const after: number[] = [];
    const firsts: number[] = [];
    for (const [q, { ask, answer }] of items.entries()) {
      const tokens = [...ask, ...answer.slice(0, -1)];
      after.push(...tokens, ...Array.from({ length: slots[q] - tokens.length }, () => filler));
      const first = b * T + starts[q] + ask.length - 1; // the last token of the question says the answer
      firsts.push(packed.targets.length);
      answer.forEach((target, i) => {
        packed.rows.push(first + i);
        packed.targets.push(target);
      });
    }
    packed.after.push(after);
    packed.firsts.push(firsts);
  }
  return packed;
}

/** The place that each token would have if its question were the only one: [1, T] int32. */
export function packedPositions({ prefix, slots, gaps }: Layout): tf.Tensor2D {
  const places = slots.flatMap((slot, q) => Array.from({ length: slot }, (_, t) => prefix + gaps[q] + t));
  const row = [...Array.from({ length: prefix }, (_, t) => t), ...places];
  return tf.tensor2d([row], [1, row.length], 'int32');
}

/** Who sees whom: causal, and no question sees another. [T, T], 0 or {@link MASKED}. */
export function packedMask({ prefix, slots }: Layout): tf.Tensor2D {
  const none = -1; // of what stands before all questions
  const ofSlots = slots.flatMap((slot, q) => Array.from({ length: slot }, () => q));
  const question = [...Array.from({ length: prefix }, () => none), ...ofSlots];
  const T = question.length;
  const values = new Float32Array(T * T);
  for (let i = 0; i < T; i++) {
    for (let j = 0; j < T; j++) {
      const seen = j <= i && (question[j] === none || question[j] === question[i]);
      if (!seen) values[i * T + j] = MASKED;
    }
  }
  return tf.tensor2d(values, [T, T]);
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0);
