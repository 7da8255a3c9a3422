/** The decoder's layers over packed questions about clips, where of each frame's tokens only some go through some layers. */
import * as tf from '@tensorflow/tfjs-core';
import {
  keepOfFrames,
  scoreTokens,
  withheldOf,
  type ScorerWeights,
} from '../compress/trained/videollm-mod.ts';
import { llamaBlock } from '../decoder/block.ts';
import type { Llama } from '../decoder/llama.ts';
import { putBack } from '../decoder/pass.ts';
import { createRope, ropeAt } from '../decoder/rope.ts';
import type { FrameOf, LayerPass } from '../decoder/state.ts';
import { gatherTokens } from '../tensor/gather.ts';
import { packedMask, packedPositions, type Layout, type Prompted } from './pack.ts';
import { openPacked, readPacked, runPacked } from './packed-decoder.ts';

/** Which of each frame's n tokens go through the layers that have a scorer: ⌈n·U/P⌉. */
export interface Depths {
  scorers: ScorerWeights;
  tokens: number; // n
  budget: number; // U
  patches: number; // P
}

/** What the decoder says. */
export type Said = {
  /** A row for each of the M targets, [M, V]. */
  answers: tf.Tensor2D;
  /** What each token of a frame would say before the last layer, [B·F·n, V]. */
  cells: tf.Tensor2D;
};

/** @param visual [B, F·n, E], the tokens of all frames, frame after frame */
export function answerClips(
  llama: Llama,
  visual: tf.Tensor3D,
  prompted: Pick<Prompted<unknown>, 'before' | 'packed'>,
  depths: Depths,
): Said {
  return tf.tidy(() => {
    const { packed, before } = prompted;
    const L = llama.weights.layers.length;
    let state = openPacked(llama, visual, prompted);
    const [B, T] = state.hidden.shape;
    const frames = framesOf(T, before.length, visual.shape[1], depths.tokens);
    let earlier = state;
    for (let l = 0; l < L; l++) {
      if (l === L - 1) earlier = state;
      state = Object.hasOwn(depths.scorers, l)
        ? { ...state, hidden: runScored(llama, l, state.hidden, frames, packed.layout, depths) }
        : runPacked(llama, state, l, l + 1);
    }
    const rows = Array.from({ length: B }, (_, b) =>
      [...frames.keys()].filter((t) => frames[t] !== undefined).map((t) => b * T + t),
    );
    return {
      answers: readPacked(llama, state, packed),
      cells: readPacked(llama, earlier, { rows: rows.flat() }),
    };
  });
}

/** A layer that has a scorer. @param hidden [B, T, E] */
function runScored(
  { config, weights }: Llama,
  l: number,
  hidden: tf.Tensor3D,
  frame: FrameOf[],
  layout: Layout,
  { scorers, budget, patches }: Depths,
): tf.Tensor3D {
  const [B, T] = hidden.shape;
  const frames = Array.from({ length: B }, () => frame);
  const scores = scoreTokens(scorers[l], hidden); // [B, T]
  const values = scores.dataSync<'float32'>();
  const rows = frames.map((_, b) => values.subarray(b * T, (b + 1) * T));
  const places = keepOfFrames(rows, frames, budget, patches); // [B][T′]
  const pass: LayerPass = { places, withheld: withheldOf(scores, places, frames) };
  const kept = tf.tensor2d(places, undefined, 'int32');
  const positions = tf.gather<tf.Tensor>(tf.squeeze(packedPositions(layout)), kept) as tf.Tensor2D; // [B, T′]
  const passedBy = T - places[0].length; // all of them of frames, which stand before the questions
  const block = llamaBlock(weights.layers[l], gatherTokens(hidden, kept), config, {
    rope: ropeAt(createRope(config, config.max_position_embeddings), positions),
    mask: packedMask({ ...layout, prefix: layout.prefix - passedBy }),
  });
  return putBack(hidden, block.hidden, pass);
}

/** [text before | F frames of n tokens | text after] */
const framesOf = (T: number, before: number, visual: number, n: number): FrameOf[] =>
  Array.from({ length: T }, (_, t) =>
    t < before || t >= before + visual ? undefined : Math.floor((t - before) / n),
  );
