import * as tf from '@tensorflow/tfjs-core';
import { attendOpen, feedForward, openBlock } from './block.ts';
import type { ClipVision, VisionOutput } from './clip.ts';
import { embedImage } from './embeddings.ts';

/** Tokens that stand for several patches. */
export type SizedTokens = {
  hidden: tf.Tensor3D; // [B, N, D], [CLS] first
  sizes: tf.Tensor3D; // [B, N, 1], how many tokens each was made of
};

/**
 * What happens between a block's attention and its MLP.
 * @param keys of the block, [B, H, N, C]
 * @returns the tokens that go on, [CLS] still first; called inside a tidy
 */
export type MergeHook = (layer: number, tokens: SizedTokens, keys: tf.Tensor4D) => SizedTokens;

/**
 * CLIP's vision transformer, in which tokens become fewer from layer to layer:
 *
 *     x ← x + softmax(Q·Kᵀ/√C + log size)·V          a token made of s patches is attended to as s of them would be
 *     x, size ← merge(x, size)
 *     x ← x + fc2(act(fc1(LayerNorm₂(x))))
 *
 * Without merges it is the same as runClipVision, number by number.
 * @param pixels [B, S, S, 3], preprocessed
 * @param depth how many layers run
 * @param onHidden called with each hidden state as it comes; it is disposed afterwards
 * @returns `hidden` of `depth` alone. The caller disposes it.
 */
export function runMergingVision(
  { config, weights }: ClipVision,
  pixels: tf.Tensor4D,
  depth: number,
  merge: MergeHook,
  onHidden?: (hidden: tf.Tensor3D, index: number) => void,
): VisionOutput {
  const hidden = tf.tidy(() => {
    let tokens = startSizes(embedImage(weights, pixels, config));
    onHidden?.(tokens.hidden, 0);
    for (const [l, layer] of weights.layers.slice(0, depth).entries()) {
      const before = tokens;
      tokens = tf.tidy((): SizedTokens => {
        const open = openBlock(layer, tokens.hidden, config);
        const keyBias: tf.Tensor2D = tf.squeeze(tf.log(tokens.sizes), [2]);
        const mixed = attendOpen(layer, open, config, { keyBias }).hidden;
        const merged = merge(l, { hidden: mixed, sizes: tokens.sizes }, open.keys);
        return { hidden: feedForward(layer, merged.hidden, config), sizes: merged.sizes.clone() };
      });
      tf.dispose(before);
      onHidden?.(tokens.hidden, l + 1);
    }
    return tokens.hidden;
  });
  return {
    hidden: new Map([[depth, hidden]]),
    attention: new Map(),
    clsAttention: new Map(),
    keys: new Map(),
  };
}

/** Every token stands for itself. */
function startSizes(hidden: tf.Tensor3D): SizedTokens {
  const [B, N] = hidden.shape;
  return { hidden, sizes: tf.ones([B, N, 1]) };
}
