import * as tf from '@tensorflow/tfjs-core';
import { shape } from '../tensor/axes.ts';
import type { Trace } from '../tensor/trace.ts';
import {
  attendOpen,
  clipBlock,
  feedForward,
  openBlock,
  readClsAttention,
  takeTokens,
  type OpenBlock,
} from './block.ts';
import type { ClipVisionConfig } from './config.ts';
import { embedImage } from './embeddings.ts';
import type { ClipBlockWeights, ClipVisionWeights } from './weights.ts';

/** CLIP's vision tower, or SigLIP's, whose blocks are the same. */
export interface ClipVision {
  config: ClipVisionConfig;
  weights: ClipVisionWeights;
}

/** Which of the tower's inner tensors a caller wants. Indices as in Hugging Face, never negative. */
export interface VisionNeeds {
  /** `hidden[0]` is the embedding output after the pre-layer-norm, `hidden[i]` the output of layer i − 1. */
  hidden?: number[];
  /** Full attention of layer i, [B, H, N, N]. */
  attention?: number[];
  /** The [CLS] row of layer i, [B, H, P]: the cheap one. */
  clsAttention?: number[];
  /** The keys of layer i, [B, H, N, C]. */
  keys?: number[];
  /** Leave the deepest layer unfinished, where its output is the one hidden state asked for and nothing is traced. */
  unfinished?: boolean;
}

/** The tensors that were asked for, by index. The caller disposes them. */
export interface VisionOutput {
  hidden: Map<number, tf.Tensor3D>; // [B, N, D]
  attention: Map<number, tf.Tensor4D>; // [B, H, N, N]
  clsAttention: Map<number, tf.Tensor3D>; // [B, H, P]
  keys: Map<number, tf.Tensor4D>; // [B, H, N, C]
  /** The deepest layer where it was left so; `hidden` then lacks its output. */
  unfinished?: Unfinished;
}

/** A layer of which the keys and values are there: all that its tokens need of each other. */
export interface Unfinished {
  /**
   * The layer's output [B, U, D]; the caller disposes it.
   * @param tokens U places of each picture among its N tokens; all of them where left out
   */
  finish(tokens?: readonly (readonly number[])[]): tf.Tensor3D;
  /** Frees what it holds. */
  dispose(): void;
}

/**
 * Runs the vision transformer as deep as what is asked for, and no deeper: with `hidden[-2]` of 24 layers, layer
 * 23 never runs. A trace runs every layer.
 * @param pixels [B, S, S, 3], preprocessed
 * @throws Error when an index is beyond the tower
 */
export function runClipVision(
  { config, weights }: ClipVision,
  pixels: tf.Tensor4D,
  needs: VisionNeeds,
  trace?: Trace,
): VisionOutput {
  shape({ pixels }, 'B S S 3', { S: config.image_size });
  const L = config.num_hidden_layers;
  const traceHidden = trace?.wants('vision.hidden.LL') ?? false;
  const traceAttention = trace?.wants('vision.attention.LL') ?? false;
  const depth = Math.max(
    0,
    ...(needs.hidden ?? []),
    ...[...(needs.attention ?? []), ...(needs.clsAttention ?? []), ...(needs.keys ?? [])].map(
      (layer) => layer + 1,
    ),
    traceHidden || traceAttention ? L : 0,
  );
  const alone = depth > 0 && needs.hidden?.join() === String(depth) && !needs.attention?.includes(depth - 1);
  const finished = needs.unfinished && alone && !trace ? depth - 1 : depth;
  if (depth > L) throw new Error(`asked for layer ${depth - 1} of ${L} vision layers (0..${L - 1})`);

  const output: VisionOutput = {
    hidden: new Map(),
    attention: new Map(),
    clsAttention: new Map(),
    keys: new Map(),
  };
  const keep = <T extends tf.Tensor>(wanted: number[] | undefined, kept: Map<number, T>, i: number, x: T) => {
    if (wanted?.includes(i)) kept.set(i, x.clone() as T);
  };

  tf.tidy(() => {
    trace?.record('vision.pixels', pixels);
    let hidden = embedImage(weights, pixels, config);
    keep(needs.hidden, output.hidden, 0, hidden);
    trace?.record('vision.hidden.LL', hidden, 0);
    for (let l = 0; l < finished; l++) {
      const block = clipBlock(weights.layers[l], hidden, config, {
        attention: traceAttention || needs.attention?.includes(l),
        clsAttention: needs.clsAttention?.includes(l),
        keys: needs.keys?.includes(l),
      });
      hidden.dispose();
      hidden = block.hidden;
      keep(needs.hidden, output.hidden, l + 1, hidden);
      trace?.record('vision.hidden.LL', hidden, l + 1);
      if (block.attention) {
        keep(needs.attention, output.attention, l, block.attention);
        trace?.record('vision.attention.LL', block.attention, l);
        block.attention.dispose();
      }
      if (block.clsAttention) {
        output.clsAttention.set(l, block.clsAttention);
        trace?.record('vision.clsAttention.LL', block.clsAttention, l);
      }
      if (block.keys) {
        output.keys.set(l, block.keys);
        trace?.record('vision.keys.LL', block.keys, l);
      }
    }
    if (finished < depth) {
      const layer = weights.layers[finished];
      const open = openBlock(layer, hidden, config);
      keep(needs.keys, output.keys, finished, open.keys);
      if (needs.clsAttention?.includes(finished)) {
        output.clsAttention.set(finished, readClsAttention(layer, open, config));
      }
      output.unfinished = unfinished(layer, open, config);
    }
    const { hidden: states, attention, clsAttention, keys } = output; // these outlive the tidy
    return [states, attention, clsAttention, keys].flatMap((map): tf.Tensor[] => [...map.values()]);
  });
  return output;
}

/** @param open of the layer, in a tidy that it outlives */
function unfinished(weights: ClipBlockWeights, open: OpenBlock, config: ClipVisionConfig): Unfinished {
  for (const tensor of Object.values(open)) tf.keep(tensor);
  return {
    finish: (tokens) =>
      tf.tidy(() => {
        const some = tokens ? takeTokens(open, tf.tensor2d(tokens as number[][], undefined, 'int32')) : open;
        return feedForward(weights, attendOpen(weights, some, config).hidden, config);
      }),
    dispose: () => tf.dispose(open),
  };
}
