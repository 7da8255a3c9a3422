/**
 * LLaVolta's visual context compressor, untrained: neighbours along the raster become their mean before one layer.
 * "Efficient Large Multi-modal Models via Visual Context Compression", arXiv 2406.20092, Beckschen/LLaVolta.
 *
 *     group u  = image tokens ⌊u·P/U⌋ .. ⌊(u + 1)·P/U⌋ − 1             where U divides P: a stride of s = P/U
 *     x'_u     = mean of the group's hidden states
 *     p'_u     = ⌊mean of the group's positions⌋                       before layer k
 *
 * | point | released code | here |
 * | --- | --- | --- |
 * | layer k | 2 (heavy), 16 (light), … ; −1 pools before the decoder | 2 by default; 0 pools before the decoder |
 * | pooling | `avg_pool1d`, stride 8 of 576 along the raster; a rest that fills no stride is dropped | groups of ⌊P/U⌋ or ⌈P/U⌉: exactly U, nothing dropped |
 * | positions | pooled too, cast to int | the same |
 * | stages | 4stage lightens as training goes on, its inference is uncompressed; heavy and light are trained and evaluated compressed, stride 8 before layer 2 or 16 (scripts/v1_5) | the compressor alone, at prefill |
 *
 * The paper trains with it; how much an untrained model bears is what a table shows. U is what is left from layer k on.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { DecoderState } from '../decoder/state.ts';
import { checkBudget, checkWhole } from './checks.ts';
import { averageGroups, imagePlaces } from './image-tokens.ts';
import type { DecoderMethod } from './method.ts';

export const llavolta: DecoderMethod<{ layer: number }> = {
  name: 'llavolta',
  paper: 'Efficient Large Multi-modal Models via Visual Context Compression, arXiv 2406.20092',
  summary: 'averages neighbouring image tokens along the raster before one decoder layer',
  where: 'decoder',
  positions: 'pooled',
  defaults: { layer: 2 },
  help: { layer: { text: 'k, the first decoder layer that runs on the means; 0: before the decoder' } },
  hook({ decoderLayers, visualTokens }, budget, { layer }) {
    checkBudget('llavolta', budget, visualTokens);
    checkWhole('llavolta: layer', layer, 0, decoderLayers - 1, `the decoder has ${decoderLayers} layers`);
    return {
      needsAttention: () => false,
      beforeLayer: (l, state, past) =>
        l === layer && past === 0 && imagePlaces(state.roles)[0].length > budget
          ? poolImage(state, budget)
          : state,
    };
  },
};

/** The tokens of each item in groups, [B][T'][1 or more]: every text token alone, the picture's P in U of neighbours. */
export function groupTokens(roles: DecoderState['roles'], U: number): number[][][] {
  const image = imagePlaces(roles);
  return roles.map((row, b) => {
    const P = image[b].length;
    const from = (u: number) => Math.floor((u * P) / U);
    const groups = Array.from({ length: U }, (_, u) => image[b].slice(from(u), from(u + 1)));
    const texts = [...row.keys()].filter((t) => row[t] === 'text').map((t) => [t]);
    return [...texts, ...groups].sort(([s], [t]) => s - t); // where its first token stood
  });
}

async function poolImage({ hidden, positions, roles }: DecoderState, U: number): Promise<DecoderState> {
  const groups = groupTokens(roles, U);
  const places = await positions.array();
  return {
    hidden: averageGroups(hidden, groups),
    positions: tf.tensor2d(
      groups.map((row, b) => row.map((group) => floorMean(group.map((t) => places[b][t])))),
      [groups.length, groups[0].length],
      'int32',
    ),
    roles: groups.map((row, b) => row.map(([t]) => roles[b][t])),
  };
}

const floorMean = (x: number[]): number => Math.floor(x.reduce((sum, n) => sum + n, 0) / x.length);
