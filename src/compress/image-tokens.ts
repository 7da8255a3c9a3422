/** What the decoder-side methods share: which of the state's tokens are the picture's, and how some of them stay. */
import * as tf from '@tensorflow/tfjs-core';
import type { DecoderState, Role } from '../decoder/state.ts';
import { UserError } from '../errors.ts';
import { shape } from '../tensor/axes.ts';
import { gatherTokens } from '../tensor/gather.ts';
import { keepTopK } from './top-k.ts';

/** Where the image tokens of each item stand in the sequence, [B][P]. */
export function imagePlaces(roles: Role[][]): number[][] {
  const places = roles.map((row) => [...row.keys()].filter((t) => row[t] === 'image'));
  if (places.some((row) => row.length !== places[0].length)) {
    throw new Error(`the items of a batch hold ${places.map((row) => row.length).join(', ')} image tokens`);
  }
  return places;
}

/**
 * The columns of some tokens, of each item its own.
 * @param rows [B, T]
 * @param places [B][P]
 * @returns [B, P]
 */
export function pickColumns<R extends tf.Tensor2D>(rows: R, places: number[][]): R {
  return tf.tidy(() => {
    const { B, T } = shape({ rows }, 'B T');
    const P = places[0].length;
    const picked = gatherTokens(tf.reshape(rows, [B, T, 1]), tf.tensor2d(places, [B, P], 'int32'));
    return tf.reshape(picked, [B, P]) as R;
  });
}

/**
 * The tokens at some places of each item, with the positions that they had.
 * @param places [B][T'], ascending
 * @returns a new state without the attention, whose rows are no longer the tokens'; the caller disposes it
 */
export function pickTokens({ hidden, positions, roles }: DecoderState, places: number[][]): DecoderState {
  const [B, T] = [places.length, places[0].length];
  if (T === 0) throw new UserError('the prompt holds nothing but a picture: no token is left when it goes');
  const index = tf.tensor2d(places, [B, T], 'int32');
  try {
    return {
      hidden: gatherTokens(hidden, index),
      positions: pickColumns(positions, places),
      roles: places.map((row, b) => row.map((t) => roles[b][t])),
    };
  } finally {
    index.dispose();
  }
}

/**
 * All text, and of the picture some tokens only.
 * @param kept which of the image tokens, counted among themselves, [B][U] ascending
 */
export function keepImageTokens(state: DecoderState, kept: number[][]): DecoderState {
  const image = imagePlaces(state.roles);
  const stays = kept.map((row, b) => new Set(row.map((i) => image[b][i])));
  const places = state.roles.map((row, b) =>
    [...row.keys()].filter((t) => row[t] === 'text' || stays[b].has(t)),
  );
  return pickTokens(state, places);
}

/**
 * The U best of each item's image tokens, on the host.
 * @param scores [B, P]
 * @returns [B][U] ascending
 */
export async function rankTokens(scores: tf.Tensor2D, budget: number): Promise<number[][]> {
  const kept = await keepTopK(scores, budget);
  try {
    return await kept.array();
  } finally {
    kept.dispose();
  }
}

/**
 * All text, and the best of the image tokens.
 * @param scores [B, P], disposed here
 */
export async function keepBestImageTokens(
  state: DecoderState,
  scores: tf.Tensor2D,
  budget: number,
): Promise<DecoderState> {
  try {
    return keepImageTokens(state, await rankTokens(scores, budget));
  } finally {
    scores.dispose();
  }
}

/**
 * The mean of each group of tokens, as one product: row g of an item's matrix holds 1/n at the n tokens of group g.
 * @param tokens [B, T, E]
 * @param groups [B][T'][n]
 * @returns [B, T', E]
 */
export function averageGroups(tokens: tf.Tensor3D, groups: number[][][]): tf.Tensor3D {
  return tf.tidy(() => {
    const { T, E } = shape({ tokens }, 'B T E', { B: groups.length });
    const items = groups.map((row, b) => {
      const weights = new Float32Array(row.length * T); // [T', T]
      for (const [g, group] of row.entries()) for (const t of group) weights[g * T + t] = 1 / group.length;
      const item: tf.Tensor2D = tf.reshape(tf.slice(tokens, [b, 0, 0], [1, T, E]), [T, E]);
      return tf.matMul(tf.tensor2d(weights, [row.length, T]), item); // 2-D: the product that is fast everywhere
    });
    return tf.stack(items) as tf.Tensor3D;
  });
}
