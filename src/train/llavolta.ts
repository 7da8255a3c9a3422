/**
 * LLaVolta's stages (arXiv 2406.20092): the compressor of compress/llavolta.ts as a schedule of training. Before one layer
 * s neighbouring tokens of the picture become their mean; as training goes on the compressor comes later and weaker.
 *
 * | scheme | the release, of 5,197 steps and 32 layers (scripts/v1_5) | here, of 4 layers | answers |
 * | --- | --- | --- | --- |
 * | 4stage | to 1300 s = 8 before layer 2, to 2600 s = 2 before 2, to 3900 s = 2 before 16, then none | quarters; before 1, 1, 2 | uncompressed |
 * | heavy | s = 8 before layer 2 throughout | before 1 | compressed alike |
 * | light | s = 8 before layer 16 throughout | before 2 | compressed alike |
 *
 * Layers are at the same share of the depth, but never the first. The release asks at each step which stage it is by
 * pivots, absolute steps; here by the share of the steps that are done. A rest that fills no stride is dropped there; here
 * ⌊P/s⌉ groups take all. No weights and no loss are added: what is trained is LLaVA.
 */
import * as tf from '@tensorflow/tfjs-core';
import { groupTokens } from '../compress/llavolta.ts';
import type { Llama } from '../decoder/llama.ts';
import { ropeOf, type PackedState } from './packed-decoder.ts';
import { packedMask, packedPositions, type Packed } from './pack.ts';

/** The compressor in one stage: before a layer so many tokens become one. */
export interface Compression {
  layer: number;
  stride: number;
}

/** A stage of a scheme, and the share of the steps at which it ends. */
export interface CompressionStage extends Compression {
  until: number;
}

/** The schemes for a decoder of 4 layers; after its last stage a scheme compresses nothing. */
export const schemes = {
  '4stage': [
    { until: 0.25, layer: 1, stride: 8 },
    { until: 0.5, layer: 1, stride: 2 },
    { until: 0.75, layer: 2, stride: 2 },
  ],
  'heavy': [{ until: Infinity, layer: 1, stride: 8 }],
  'light': [{ until: Infinity, layer: 2, stride: 8 }],
} as const satisfies Record<string, readonly CompressionStage[]>;

/** The stage in which training is. @param done share of the steps, from 0; 1 and what follows is the model's use */
export const stageAt = (
  stages: readonly CompressionStage[] | undefined,
  done: number,
): CompressionStage | undefined => stages?.find(({ until }) => done < until);

/**
 * The picture's tokens as means of neighbours, their positions too, rounded down; all other tokens as they are.
 * @param before tokens before the picture
 * @returns the shorter state, and where the rows that answer are in it
 */
export function compressPacked(
  llama: Llama,
  { hidden }: PackedState,
  { layout, rows }: Packed,
  before: number,
  stride: number,
): { state: PackedState; rows: number[] } {
  const [B, T] = hidden.shape;
  const P = layout.prefix - before;
  const groups = groupTokens(P, Math.max(1, Math.round(P / stride)));
  const U = groups.length;
  const ends = T - before - P;
  const [head, picture, tail] = tf.split<tf.Tensor3D>(hidden, [before, P, ends], 1);
  const means = tf.tidy(() => {
    const weights = groups.map((group) =>
      Array.from({ length: P }, (_, p) => (group.includes(p) ? 1 / group.length : 0)),
    );
    return tf.matMul<tf.Tensor3D>(tf.tile(tf.tensor3d([weights]), [B, 1, 1]), picture); // [B, U, E]
  });
  const places = groups.map((group) => before + Math.floor((group[0] + group.at(-1)!) / 2));
  const [, , texts] = tf.split<tf.Tensor2D>(packedPositions(layout), [before, P, ends], 1);
  const positions = tf.concat([
    tf.tensor2d([[...Array(before).keys(), ...places]], [1, before + U], 'int32'),
    texts,
  ], 1); // prettier-ignore
  return {
    state: {
      hidden: tf.concat([head, means, tail], 1), // [B, T − P + U, E]
      rope: ropeOf(llama, positions),
      mask: packedMask({ ...layout, prefix: before + U }),
    },
    rows: rows.map((row) => row - (Math.floor(row / T) + 1) * (P - U)),
  };
}
