/** The decoder's layers over packed questions: those of inference, under the packed mask, in pieces. */
import * as tf from '@tensorflow/tfjs-core';
import { llamaBlock } from '../decoder/block.ts';
import { normStates, type Llama } from '../decoder/llama.ts';
import type { NumberToken } from '../decoder/number-token.ts';
import { createRope, ropeAt, type RopeRows } from '../decoder/rope.ts';
import { spliceImage } from '../decoder/splice.ts';
import { linear } from '../tensor/linear.ts';
import { packedMask, packedPositions, type Packed, type Prompted } from './pack.ts';

/** A batch on its way through the layers, and who sees whom. */
export interface PackedState {
  hidden: tf.Tensor3D; // [B, T, E]
  rope: RopeRows; // of one row of positions, which serves the batch
  mask: tf.Tensor2D; // [T, T]
}

/**
 * [text before | visual tokens | questions and answers], before layer 0.
 * @param visual [B, U, E]
 * @param spoken what the number tokens of each sequence stand for, in order, [B][M][n]
 */
export function openPacked(
  llama: Llama,
  visual: tf.Tensor3D,
  { before, packed }: Pick<Prompted, 'before' | 'packed'>,
  spoken?: { token: NumberToken; numbers: readonly (readonly (readonly number[])[])[] },
): PackedState {
  const prompts = packed.after.map((after, b) => ({ before, after, numbers: spoken?.numbers[b] }));
  const { hidden } = spliceImage(llama, prompts, visual, undefined, spoken?.token);
  const positions = packedPositions(packed.layout);
  return { hidden, rope: ropeOf(llama, positions), mask: packedMask(packed.layout) };
}

/** The layers from one to before another. */
export function runPacked(llama: Llama, state: PackedState, from: number, to: number): PackedState {
  const { rope, mask } = state;
  let { hidden } = state;
  for (const layer of llama.weights.layers.slice(from, to)) {
    hidden = llamaBlock(layer, hidden, llama.config, { rope, mask }).hidden;
  }
  return { ...state, hidden };
}

/** @returns [M, V], a row for each of the M targets */
export const readPacked = (llama: Llama, state: PackedState, packed: Pick<Packed, 'rows'>): tf.Tensor2D =>
  linear(llama.weights.lm_head, packedStates(llama, state, packed));

/** The last states that are to say the M targets, after the final norm: [M, E] */
export function packedStates(
  llama: Llama,
  { hidden }: PackedState,
  { rows }: Pick<Packed, 'rows'>,
): tf.Tensor2D {
  const [B, T, E] = hidden.shape;
  const read = tf.gather(tf.reshape(hidden, [B * T, E]), tf.tensor1d(rows, 'int32'));
  return tf.reshape(normStates(llama, tf.reshape(read, [1, rows.length, E])), [rows.length, E]);
}

/** cos and sin of positions [1, T]. */
export const ropeOf = ({ config }: Llama, positions: tf.Tensor2D): RopeRows =>
  ropeAt(createRope(config, config.max_position_embeddings), positions);
