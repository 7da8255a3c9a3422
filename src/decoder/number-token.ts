/**
 * A token that stands for numbers, as PerceptionGPT's `<loc>` stands for a box. The decoder says it as it says a word; which
 * numbers are meant is read from the state that said it. In the sequence they stand in place of the token's embedding: given
 * ones in the prompt, its own in what it reads next.
 */
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { embed, type Table } from '../tensor/linear.ts';

/** Such a token, and what makes an embedding of numbers and numbers of a state. */
export interface NumberToken {
  id: number;
  /** n, how many numbers it stands for. */
  count: number;
  /** From states after the final norm to the numbers that they mean: [M, E] → [M, n]. */
  read(this: void, states: tf.Tensor2D): tf.Tensor2D;
  /** From numbers to what stands for them in the sequence: [M, n] → [M, E]. */
  write(this: void, numbers: tf.Tensor2D): tf.Tensor2D;
}

/**
 * Rows of the embedding table; where the token stands, its numbers as they are written.
 * @param ids [B][T]
 * @param numbers M of them, one for each time that the token stands there, in reading order
 * @returns [B, T, E]
 * @throws UserError for more or fewer
 */
export function embedNumbers(
  table: Table,
  ids: readonly (readonly number[])[],
  token: NumberToken,
  numbers: readonly (readonly number[])[],
): tf.Tensor3D {
  const places = placesOf(ids, token);
  if (places.length !== numbers.length || numbers.some((row) => row.length !== token.count)) {
    const given = numbers.map((row) => row.length).join(', ') || 'none';
    throw new UserError(
      `token ${token.id} stands ${formatTimes(places.length)} in the prompt, for ${token.count} numbers each time; given are ${given}`,
    );
  }
  return tf.tidy(() => {
    const words = embed(table, tf.tensor2d(ids as number[][], undefined, 'int32'));
    if (places.length === 0) return words;
    return replaceRows(words, places, token.write(tf.tensor2d(numbers as number[][])));
  });
}

/** `once`, `3 times` */
export const formatTimes = (count: number): string => (count === 1 ? 'once' : `${count} times`);

/** Where the token stands, places of [B · T]. */
export const placesOf = (ids: readonly (readonly number[])[], { id }: Pick<NumberToken, 'id'>): number[] =>
  ids.flat().flatMap((other, place) => (other === id ? [place] : []));

/**
 * Other rows at some places of a sequence.
 * @param x [B, T, E]
 * @param places M of [B · T]
 * @param rows [M, E]
 */
export function replaceRows(x: tf.Tensor3D, places: readonly number[], rows: tf.Tensor2D): tf.Tensor3D {
  return tf.tidy(() => {
    const [B, T, E] = x.shape;
    const M = places.length;
    const at = new Float32Array(B * T * M); // [B · T, M], a 1 where a row goes
    for (const [m, place] of places.entries()) at[place * M + m] = 1;
    const others = tf.tensor2d([...Array(B * T).keys()].map((place) => [places.includes(place) ? 0 : 1]));
    const kept = tf.mul(tf.reshape(x, [B * T, E]), others);
    return tf.reshape(tf.add(kept, tf.matMul(tf.tensor2d(at, [B * T, M]), rows)), [B, T, E]);
  });
}
