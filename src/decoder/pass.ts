/**
 * A layer that only some tokens go through; the others pass by on the residual, unchanged and without keys there. This is no
 * matrix: nothing is chosen for good, and the next layer has them all again.
 */
import * as tf from '@tensorflow/tfjs-core';
import { gatherTokens } from '../tensor/gather.ts';
import type { DecoderState, LayerPass } from './state.ts';

/** Those that go through, at their own positions; all where there is no pass. Called inside a tidy. */
export function takeThrough(state: DecoderState, pass?: LayerPass): DecoderState {
  if (!pass) return state;
  const { hidden, positions, roles, frames } = state;
  const [B, T] = positions.shape;
  const kept = <X>(rows: readonly (readonly X[])[]): X[][] =>
    pass.places.map((row, b) => row.map((t) => rows[b][t]));
  return {
    hidden: rowsOf(hidden, pass.places),
    positions: tf.squeeze(rowsOf(tf.reshape(positions, [B, T, 1]), pass.places), [2]),
    roles: kept(roles),
    frames: frames && kept(frames),
  };
}

/**
 * The sequence after the layer: x where a token passed by, x + g·(y − x) where it went through. Written as y − (1 − g)·(y − x),
 * which is y to the bit where g is 1. Called inside a tidy.
 * @param x [B, T, E], what came to the layer
 * @param y [B, T′, E], what the layer made of those that went through
 */
export function putBack(x: tf.Tensor3D, y: tf.Tensor3D, pass?: LayerPass): tf.Tensor3D {
  if (!pass) return y;
  const { places, withheld } = pass;
  const T = x.shape[1];
  const changed: tf.Tensor3D = withheld ? tf.sub(y, tf.mul(withheld, tf.sub(y, rowsOf(x, places)))) : y;
  const sources = places.map((row) => {
    const source = [...Array(T).keys()];
    for (const [i, t] of row.entries()) source[t] = T + i;
    return source;
  });
  return rowsOf(tf.concat([x, changed], 1), sources); // of [B, T + T′, E]
}

const rowsOf = (tokens: tf.Tensor3D, places: number[][]): tf.Tensor3D =>
  gatherTokens(tokens, tf.tensor2d(places, undefined, 'int32'));
