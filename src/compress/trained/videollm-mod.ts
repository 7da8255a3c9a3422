/**
 * VideoLLM-MoD: in some layers of the decoder most of each frame's tokens pass by, and only those that a scorer names go
 * through. "VideoLLM-MoD: Efficient Video-Language Streaming with Mixture-of-Depths Vision Computation", arXiv 2408.16730.
 *
 *     s_i  = w_lᵀ·x_i + b_l                                    [B, T], a scorer w_l for each chosen layer l
 *     kept = of each frame's n tokens the top ⌈r·n⌉ of s, and all text, each at its own position
 *     y    = block_l(x[kept])                                  attention and FFN among these alone, and their keys
 *     x_i ← x_i + g_i·(y_i − x_i)   where kept                  g_i = σ(s_i) of a frame's token, 1 of text
 *     x_i ← x_i                     elsewhere                   no keys in layer l; layer l + 1 has it again
 *
 * No code was released, and the paper is known here by its abstract and by what others restate of it; what they chose in
 * its place stands beside ours.
 *
 * | point | paper | p-MoD's code | LION-FS's code | here |
 * | --- | --- | --- | --- | --- |
 * | scorer | a linear layer, one for each layer | Linear(d → 1), zero at first | Linear(d → 2), one for all, softmax | Linear(d → 1) each |
 * | kept | of each frame, above the 1 − r quantile | of all frames together | of all frames, half | of each frame, ⌈r·n⌉; of equals the first |
 * | r | .2, say | by layer, a cosine | .5 | U/P, the budget: .25 in training |
 * | a frame’s tokens | – | all | all | means of 2 × 2 patches, a W that is the same for all |
 * | gate | unsaid | FFN times .2·tanh(s) + 1 | FFN times the probability | the whole change times σ(s), or 1 |
 * | layers | interleaved, it seems | those whose share is small | every even one | every even one |
 * | positions | – | the original ones | 0, 1, … | the original ones |
 * | answering | – | every layer whole for text | every layer whole for text | every layer whole for text |
 *
 * The scorers' gradient comes through the gate alone. So none may stand in the last layer, where nobody reads what becomes of a
 * frame's token: there the gate changes no answer. With U = P and the gate 1 it is the full model to the bit.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { DecoderState, FrameOf } from '../../decoder/state.ts';
import { UserError } from '../../errors.ts';
import { dense } from '../../io/weight-table.ts';
import { shape } from '../../tensor/axes.ts';
import { gatherTokens } from '../../tensor/gather.ts';
import { linear, type Linear } from '../../tensor/linear.ts';
import { scope } from '../../tensor/scope.ts';
import { matrixOf, meanOf, type Row } from '../../tensor/token-matrix.ts';
import { checkWhole } from '../checks.ts';
import { descending, readPictures } from '../host.ts';
import type { Source } from '../method.ts';
import { gridOf } from '../selected-layer.ts';
import type { TrainedSystem } from './system.ts';

const gates = ['sigmoid', 'one'] as const;
export type VideoLlmModOptions = { pool: number; gate: (typeof gates)[number] };

/** The scorers, by layer; none where all tokens go through. */
export type ScorerWeights = Record<number, Linear>;

/** Every even layer but the last: of 4 layers 0 and 2. */
export const scoredLayers = (layers: number): number[] =>
  Array.from({ length: layers - 1 }, (_, l) => l).filter((l) => l % 2 === 0);

export const videoLlmMod: TrainedSystem<{ scorers: ScorerWeights }, VideoLlmModOptions> = {
  name: 'videollm-mod',
  paper:
    'VideoLLM-MoD: Efficient Video-Language Streaming with Mixture-of-Depths Vision Computation, arXiv 2408.16730',
  summary: 'in every other decoder layer a trained scorer lets only a few of each frame’s tokens through',
  stages: ['before', 'between'],
  model: 'video',
  makesTokens: true,
  means: true,
  defaults: { pool: 2, gate: 'sigmoid' },
  help: {
    pool: { text: 'the side of the cells of patches whose mean is a token of a frame; 1: each patch is one' },
    gate: { text: 'how much of what the layer does to a frame’s token counts', choices: gates },
  },
  table: ({ text: { num_hidden_layers: L, hidden_size: E } }) => ({
    scorers: Object.fromEntries(scoredLayers(L).map((l) => [l, dense(`scorers.${l}`, E, 1)])),
  }),
  prepare({ weights: { scorers } }, source, budget, { pool, gate }) {
    const cells = poolCells(source, pool);
    const { patches: P } = source;
    return {
      words: {
        'compress.matrix': `the mean of each of ${cells.length} cells of ${pool} × ${pool} patches`,
        'decoder.hidden.LL': `through layers ${Object.keys(scorers).join(', ')} go ${budget} of ${P} of each frame’s tokens`,
      },
      leaves: cells.length,
      choose: ({ B }) => ({ W: matrixOf(Array.from({ length: B }, () => cells), P) }), // prettier-ignore
      between: () => ({
        async through(l, state) {
          if (!Object.hasOwn(scorers, l)) return undefined;
          using own = scope();
          const scores = own(scoreTokens(scorers[l], state.hidden)); // [B, T]
          const rows = await readPictures('videollm-mod.scores', () => scores.clone());
          const frames = framesOf(state);
          const places = keepOfFrames(rows, frames, budget, P);
          return { places, withheld: gate === 'one' ? undefined : withheldOf(scores, places, frames) };
        },
      }),
    };
  },
};

/** The means of pool × pool patches, row after row. */
export function poolCells(source: Source, pool: number): Row[] {
  const G = gridOf(source, 'videollm-mod');
  checkWhole('videollm-mod: pool', pool, 1, G);
  if (G % pool !== 0) {
    throw new UserError(`videollm-mod: pool=${pool} does not divide the grid of ${G} × ${G} patches`);
  }
  const across = [...Array(G / pool).keys()];
  const inside = [...Array(pool).keys()];
  return across.flatMap((Y) =>
    across.map((X) => meanOf(inside.flatMap((y) => inside.map((x) => (Y * pool + y) * G + X * pool + x)))),
  );
}

/** s = wᵀ·x + b of every token. @param hidden [B, T, E] @returns [B, T] */
export const scoreTokens = (scorer: Linear, hidden: tf.Tensor3D): tf.Tensor2D =>
  tf.tidy(() => tf.squeeze<tf.Tensor2D>(linear(scorer, hidden), [2]));

/** Of each token the frame; a prompt with one picture has one. [B][T] */
export const framesOf = ({ roles, frames }: Pick<DecoderState, 'roles' | 'frames'>): FrameOf[][] =>
  frames ?? roles.map((row) => row.map((role) => (role === 'image' ? 0 : undefined)));

/**
 * Who goes through: all text, and of each frame's n tokens the ⌈n·U/P⌉ with the highest scores.
 * @param scores [B][T]
 * @returns places, [B][T′], ascending
 */
export function keepOfFrames(
  scores: readonly Float32Array[],
  frames: readonly FrameOf[][],
  budget: number,
  patches: number,
): number[][] {
  return frames.map((row, b) => {
    const texts = [...row.keys()].filter((t) => row[t] === undefined);
    const kept = [...new Set(row)].flatMap((frame) => {
      const places = frame === undefined ? [] : [...row.keys()].filter((t) => row[t] === frame);
      const order = descending(Float32Array.from(places, (t) => scores[b][t]));
      return order.slice(0, Math.ceil((places.length * budget) / patches)).map((i) => places[i]);
    });
    return [...texts, ...kept].sort((s, t) => s - t);
  });
}

/**
 * 1 − g of those that go through: 1 − σ(s) = σ(−s) of a frame's tokens, 0 of text.
 * @param scores [B, T]
 * @returns [B, T′, 1]
 */
export function withheldOf(
  scores: tf.Tensor2D,
  places: number[][],
  frames: readonly FrameOf[][],
): tf.Tensor3D {
  return tf.tidy(() => {
    const { B, T } = shape({ scores }, 'B T', { B: places.length });
    const kept = gatherTokens(tf.reshape(scores, [B, T, 1]), tf.tensor2d(places, undefined, 'int32'));
    const ofFrame = places.map((row, b) => row.map((t) => [Number(frames[b][t] !== undefined)]));
    return tf.mul(tf.sigmoid(tf.neg(kept)), tf.tensor3d(ofFrame));
  });
}
