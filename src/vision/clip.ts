import * as tf from '@tensorflow/tfjs-core';
import { shape } from '../tensor/axes.ts';
import { gatherTokens } from '../tensor/gather.ts';
import type { Trace } from '../tensor/trace.ts';
import { clipBlock, closeBlock, openBlock, readClsAttention, takeTokens, type OpenBlock } from './block.ts';
import type { ClipVisionConfig } from './config.ts';
import { embedImage } from './embeddings.ts';
import type { ClipVisionWeights } from './weights.ts';

export interface ClipVision {
  config: ClipVisionConfig;
  weights: ClipVisionWeights;
}

/** Which of the tower's inner tensors a caller wants. Indices as in Hugging Face, never negative. */
export interface VisionAsk {
  /** `hidden[0]` is the embedding output after the pre-layer-norm, `hidden[i]` the output of layer i − 1. */
  hidden?: number[];
  /** Full attention of layer i, [B, H, N, N]. */
  attention?: number[];
  /** The [CLS] row of layer i, [B, H, P]: the cheap one. */
  clsAttention?: number[];
  /** The keys of layer i, [B, H, N, C]. */
  keys?: number[];
  /** Leave the deepest layer open, so that {@link readHidden} finishes it for some tokens only. */
  open?: boolean;
}

/** The tensors that were asked for, by index. The caller disposes them. */
export interface VisionOutput {
  hidden: Map<number, tf.Tensor3D>; // [B, N, D]
  attention: Map<number, tf.Tensor4D>; // [B, H, N, N]
  clsAttention: Map<number, tf.Tensor3D>; // [B, H, P]
  keys: Map<number, tf.Tensor4D>; // [B, H, N, C]
  /** The deepest layer, half done; then `hidden` lacks its output. Absent when its full attention is wanted. */
  open?: OpenBlock;
  openLayer?: number;
}

/**
 * Runs CLIP's vision transformer as deep as what is asked for, and no deeper: with `hidden[-2]` of 24 layers, layer
 * 23 never runs. A trace runs every layer.
 * @param pixels [B, S, S, 3], preprocessed
 * @param onHidden called with each hidden state as it comes; it is disposed afterwards
 * @throws Error when an index is beyond the tower
 */
export function runClipVision(
  { config, weights }: ClipVision,
  pixels: tf.Tensor4D,
  ask: VisionAsk,
  trace?: Trace,
  onHidden?: (hidden: tf.Tensor3D, index: number) => void,
): VisionOutput {
  shape({ pixels }, 'B S S 3', { S: config.image_size });
  const L = config.num_hidden_layers;
  const traceHidden = trace?.wants('vision.hidden.LL') ?? false;
  const traceAttention = trace?.wants('vision.attention.LL') ?? false;
  const depth = Math.max(
    0,
    ...(ask.hidden ?? []),
    ...[...(ask.attention ?? []), ...(ask.clsAttention ?? []), ...(ask.keys ?? [])].map((layer) => layer + 1),
    traceHidden || traceAttention ? L : 0,
  );
  if (depth > L) throw new Error(`asked for layer ${depth - 1} of ${L} vision layers (0..${L - 1})`);

  const whole = traceHidden || traceAttention || ask.attention?.includes(depth - 1);
  const closed = ask.open && !whole ? Math.max(0, depth - 1) : depth;

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
    keep(ask.hidden, output.hidden, 0, hidden);
    trace?.record('vision.hidden.LL', hidden, 0);
    onHidden?.(hidden, 0);
    for (let l = 0; l < closed; l++) {
      const block = clipBlock(weights.layers[l], hidden, config, {
        attention: traceAttention || ask.attention?.includes(l),
        clsAttention: ask.clsAttention?.includes(l),
        keys: ask.keys?.includes(l),
      });
      hidden.dispose();
      hidden = block.hidden;
      keep(ask.hidden, output.hidden, l + 1, hidden);
      trace?.record('vision.hidden.LL', hidden, l + 1);
      onHidden?.(hidden, l + 1);
      if (block.attention) {
        keep(ask.attention, output.attention, l, block.attention);
        trace?.record('vision.attention.LL', block.attention, l);
        block.attention.dispose();
      }
      if (block.clsAttention) output.clsAttention.set(l, block.clsAttention);
      if (block.keys) output.keys.set(l, block.keys);
    }
    if (closed < depth) {
      const layer = weights.layers[closed];
      output.open = openBlock(layer, hidden, config);
      output.openLayer = closed;
      keep(ask.keys, output.keys, closed, output.open.keys);
      if (ask.clsAttention?.includes(closed)) {
        output.clsAttention.set(closed, readClsAttention(layer, output.open, config));
      }
    }
    return visionTensors(output);
  });
  return output;
}

/**
 * One hidden state, of some tokens only. Of a layer left open they alone are computed: the others matter to them only
 * through the keys and values, which are there.
 * @param index as in `hidden`
 * @param tokens [B, U] int32, places among the N
 * @returns [B, U, D]
 */
export function readHidden(
  { config, weights }: ClipVision,
  { hidden, open }: VisionOutput,
  index: number,
  tokens: tf.Tensor2D,
): tf.Tensor3D {
  return tf.tidy(() => {
    const whole = hidden.get(index);
    if (whole) return gatherTokens(whole, tokens);
    if (!open) throw new Error(`hidden[${index}] was not asked for`);
    return closeBlock(weights.layers[index - 1], takeTokens(open, tokens), config).hidden;
  });
}

/** Every tensor of an output. */
export function visionTensors({ hidden, attention, clsAttention, keys, open }: VisionOutput): tf.Tensor[] {
  const halfDone = open ? Object.values(open) : [];
  return [hidden, attention, clsAttention, keys]
    .flatMap((map) => [...map.values()] as tf.Tensor[])
    .concat(halfDone);
}
