/** What a method leaves of the picture between two layers. */
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import {
  applyMatrix,
  firstOf,
  keepToken,
  matrixOf,
  type Row,
  type TokenMatrix,
} from '../tensor/token-matrix.ts';
import type { DecoderState, LayerHook, Role } from './state.ts';

/** Where the image tokens of each item stand in the sequence, [B][P]. */
export function imagePlaces(roles: readonly (readonly Role[])[]): number[][] {
  const places = roles.map((row) => [...row.keys()].filter((t) => row[t] === 'image'));
  if (places.some((row) => row.length !== places[0].length)) {
    throw new Error(`the items of a batch hold ${places.map((row) => row.length).join(', ')} image tokens`);
  }
  return places;
}

/**
 * The state after a cut: all text, and of the picture W.
 * @param W over the image tokens alone, its rows in the order of where they stand
 * @returns new tensors; the caller disposes both states
 */
export async function cutImage(
  { hidden, positions, roles, frames }: DecoderState,
  W: TokenMatrix,
  made: LayerHook['positions'] = 'first',
): Promise<DecoderState> {
  const all = besideText(W, roles);
  if (all.shape[1] === 0) {
    throw new UserError('the prompt holds nothing but a picture: no token is left when it goes');
  }
  const places = await positions.array();
  const positionOf = (row: Row, b: number) =>
    made === 'first' ? places[b][firstOf(row)] : floorMean([...row.keys()].map((t) => places[b][t]));
  const ofFirst = <X>(of: readonly (readonly X[])[]): X[][] =>
    all.rows.map((picture, b) => picture.map((row) => of[b][firstOf(row)]));
  return {
    hidden: applyMatrix(all, hidden),
    positions: tf.tensor2d(
      all.rows.map((picture, b) => picture.map((row) => positionOf(row, b))),
      undefined,
      'int32',
    ),
    roles: ofFirst(roles),
    frames: frames && ofFirst(frames),
  };
}

/** W over the whole sequence: each text token as it is, all in the order of where they stood. */
function besideText(W: TokenMatrix, roles: readonly (readonly Role[])[]): TokenMatrix {
  const image = imagePlaces(roles);
  const rows = roles.map((row, b) => {
    const texts = [...row.keys()].filter((t) => row[t] === 'text').map(keepToken);
    const tokens = W.rows[b].map((made) => new Map([...made].map(([i, weight]) => [image[b][i], weight])));
    return [...texts, ...tokens].sort((x, y) => firstOf(x) - firstOf(y));
  });
  return matrixOf(rows, roles[0].length);
}

const floorMean = (x: number[]): number => Math.floor(x.reduce((sum, n) => sum + n, 0) / x.length);
