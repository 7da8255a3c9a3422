import * as tf from '@tensorflow/tfjs-core';
import { shape } from '../tensor/axes.ts';
import { linear } from '../tensor/linear.ts';
import { layerNorm } from '../tensor/norm.ts';
import { gridSide, type ClipVisionConfig } from './config.ts';
import type { ClipVisionWeights } from './weights.ts';

/**
 * Cuts a picture into patches, in raster order.
 * @param pixels [B, S, S, 3]
 * @returns [B, P, patch·patch·3]
 */
export function cutPatches(pixels: tf.Tensor4D, config: ClipVisionConfig): tf.Tensor3D {
  return tf.tidy(() => {
    const { B } = shape({ pixels }, 'B S S 3', { S: config.image_size });
    const g = gridSide(config);
    const p = config.patch_size;
    const covered = tf.slice(pixels, [0, 0, 0, 0], [B, g * p, g * p, 3]);
    const cells = tf.reshape(covered, [B, g, p, g, p * 3]); // row of patches, row in patch, patch, row's pixels
    return tf.reshape(tf.transpose(cells, [0, 1, 3, 2, 4]), [B, g * g, p * p * 3]);
  });
}

/**
 * What enters the first block, `hidden[0]`:
 *
 *     x = LayerNorm([class; patch₁·W; …; patch_P·W] + positions)
 *
 * The patch embedding is a convolution whose stride is its kernel: one matrix product a patch. SigLIP has a bias there,
 * no class token and no norm.
 * @param pixels [B, S, S, 3]
 * @returns [B, N, D]
 */
export function embedImage(
  weights: ClipVisionWeights,
  pixels: tf.Tensor4D,
  config: ClipVisionConfig,
): tf.Tensor3D {
  return tf.tidy(() => {
    const D = config.hidden_size;
    const patches = linear(weights.patch_embedding, cutPatches(pixels, config)); // [B, P, D]
    const B = patches.shape[0];
    const { class_embedding: cls } = weights;
    const classToken = cls ? [tf.tile(tf.reshape(cls, [1, 1, D]), [B, 1, 1]) as tf.Tensor3D] : [];
    const tokens = tf.concat([...classToken, patches], 1); // [B, N, D]
    return normEmbedding(weights, tf.add(tokens, weights.position_embedding), config);
  });
}

/** The norm before the first block, where the tower has one. @param x [B, N, D] */
export const normEmbedding = (
  { pre_layrnorm }: ClipVisionWeights,
  x: tf.Tensor3D,
  { layer_norm_eps }: ClipVisionConfig,
): tf.Tensor3D => (pre_layrnorm ? layerNorm(pre_layrnorm, x, layer_norm_eps) : x);
