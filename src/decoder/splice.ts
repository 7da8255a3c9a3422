import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { shape } from '../tensor/axes.ts';
import { embed } from '../tensor/linear.ts';
import type { Llama } from './llama.ts';
import { embedNumbers, type NumberToken } from './number-token.ts';
import type { DecoderInput, Role } from './state.ts';

/**
 * A prompt of text alone, as the decoder takes it: positions 0 .. T − 1. The caller disposes it.
 * @throws UserError for no ids, rows of unlike lengths, or ids out of the vocabulary
 */
export function embedText({ weights, config }: Llama, ids: number[][]): DecoderInput {
  checkRows(ids, config.vocab_size);
  const [B, T] = [ids.length, ids[0].length];
  if (T === 0) throw new UserError('a prompt needs at least one token');
  return {
    hidden: tf.tidy(() => embed(weights.embed_tokens, tf.tensor2d(ids, [B, T], 'int32'))),
    positions: tf.tensor2d(
      ids.map((row) => countUp(row)),
      [B, T],
      'int32',
    ),
    roles: ids.map((row) => row.map(() => 'text' as const)),
    nextPosition: T,
  };
}

/** Where visual tokens stood in the uncut picture, for {@link spliceImage}. */
export interface OriginalPlaces {
  /** Each visual token's place among the picture's tokens, [B][U]. */
  places: number[][];
  /** How many tokens the uncut picture takes. */
  length: number;
}

/** Token ids around a picture. */
export interface SplicedPrompt {
  before: number[];
  after: number[];
  /** What each number token among them stands for, in order. */
  numbers?: readonly (readonly number[])[];
}

/**
 * Puts the visual tokens where the picture stands in the prompt: [text before | visual tokens | text after].
 *
 * Positions are contiguous, 0 .. T − 1, as if the dropped tokens had never been; or, given their places, original:
 * every token keeps the position it has in the uncut prompt, and generation goes on behind that prompt's end.
 * @param prompts per item the token ids around the picture; T must come out the same for all
 * @param visual [B, U, E], not disposed
 * @param numberToken where the decoder has one: its numbers stand for it
 * @returns hidden [B, T, E]; the caller disposes it
 * @throws UserError for no prompts, prompts of unlike lengths, ids out of the vocabulary, or places that are not U of the
 *   picture's
 */
export function spliceImage(
  { weights, config }: Llama,
  prompts: SplicedPrompt[],
  visual: tf.Tensor3D,
  original?: OriginalPlaces,
  numberToken?: NumberToken,
): DecoderInput {
  checkRows(
    prompts.map(({ before, after }) => [...before, ...after]),
    config.vocab_size,
  );
  const { B, U } = shape({ visual }, 'B U E', { B: prompts.length, E: config.hidden_size });
  if (original) checkPlaces(original, B, U);
  const E = config.hidden_size;
  const hidden = tf.tidy(() => {
    const rows = prompts.map(({ before, after, numbers = [] }, b) => {
      const ids = [[...before, ...after]];
      const text = numberToken
        ? embedNumbers(weights.embed_tokens, ids, numberToken, numbers)
        : embed(weights.embed_tokens, tf.tensor2d(ids, undefined, 'int32'));
      const image = tf.slice(visual, [b, 0, 0], [1, U, E]);
      const head = tf.slice(text, [0, 0, 0], [1, before.length, E]);
      const tail = tf.slice(text, [0, before.length, 0], [1, after.length, E]);
      const parts = [head, image, tail].filter((part) => part.size > 0);
      return tf.concat(parts, 1); // [1, T, E]
    });
    return tf.concat(rows, 0);
  });
  const T = hidden.shape[1];
  const positions = prompts.map(({ before, after }, b) => {
    if (!original) return Array.from({ length: T }, (_, t) => t);
    const end = before.length + original.length;
    return [...countUp(before), ...original.places[b].map((p) => before.length + p), ...countUp(after, end)];
  });
  const roles = prompts.map(({ before, after }): Role[] => [
    ...before.map(() => 'text' as const),
    ...Array.from({ length: U }, () => 'image' as const),
    ...after.map(() => 'text' as const),
  ]);
  return {
    hidden,
    positions: tf.tensor2d(positions, [B, T], 'int32'),
    roles,
    nextPosition: original ? T - U + original.length : T,
  };
}

/**
 * @param rows token ids, [B][T]
 * @throws UserError for none, rows of unlike lengths, or ids out of the vocabulary
 */
export function checkRows(rows: readonly (readonly number[])[], vocabulary: number): void {
  if (rows.length === 0) throw new UserError('a batch needs at least one prompt');
  const lengths = rows.map((row) => row.length);
  if (new Set(lengths).size > 1) {
    throw new UserError(
      `the prompts of a batch have ${lengths.join(', ')} tokens: they must have equally many`,
    );
  }
  // A gather would read past the table without a word.
  const bad = rows.flat().find((id) => !Number.isSafeInteger(id) || id < 0 || id >= vocabulary);
  if (bad !== undefined) throw new UserError(`the prompt: ${bad} is not a token id (0 .. ${vocabulary - 1})`);
}

function checkPlaces({ places, length }: OriginalPlaces, B: number, U: number): void {
  const inside = (place: number) => Number.isSafeInteger(place) && place >= 0 && place < length;
  if (places.length === B && places.every((row) => row.length === U && row.every(inside))) return;
  throw new UserError(`original places should be ${B} rows of ${U} whole numbers from 0 to ${length - 1}`);
}

const countUp = (row: readonly unknown[], from = 0): number[] => row.map((_, i) => from + i);
