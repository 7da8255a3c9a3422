import * as tf from '@tensorflow/tfjs-core';
import { dense, norm, scalar, type Tree } from '../io/weight-table.ts';
import { shape } from '../tensor/axes.ts';
import { linear, type Linear } from '../tensor/linear.ts';
import { layerNorm, type LayerNorm } from '../tensor/norm.ts';
import { checkIds } from '../text/prompt.ts';
import { runClipVision, type ClipVision } from './clip.ts';
import { runClipText, type ClipText } from './text.ts';

/** CLIP whole (Radford et al., 2103.00020): two towers and the space in which their outputs meet. */
export interface Clip {
  vision: ClipVision;
  text: ClipText;
  weights: ClipContrastWeights;
}

/** What joins the towers, under Hugging Face's names. */
export interface ClipContrastWeights {
  post_layernorm: LayerNorm; // of [CLS], after the last block
  visual_projection: Linear; // [D, projection_dim], no bias
  text_projection: Linear; // [D of the text tower, projection_dim], no bias
  logit_scale: tf.Scalar; // the logarithm of 1 / temperature
}

/**
 * Where each weight stands in a checkpoint.
 * @param visionWidth D of the vision tower
 * @param textWidth D of the text tower
 */
export function clipContrastTable(
  visionWidth: number,
  textWidth: number,
  projection_dim: number,
): Tree<ClipContrastWeights> {
  return {
    post_layernorm: norm('vision_model.post_layernorm', visionWidth),
    visual_projection: dense('visual_projection', visionWidth, projection_dim, false),
    text_projection: dense('text_projection', textWidth, projection_dim, false),
    logit_scale: scalar('logit_scale'),
  };
}

/**
 * Pictures as directions: projection(LayerNorm([CLS] of the last layer)), of length 1.
 * @param pixels [B, S, S, 3], preprocessed
 * @returns [B, projection_dim]
 */
export function embedPictures({ vision, weights }: Clip, pixels: tf.Tensor4D): tf.Tensor2D {
  return tf.tidy(() => {
    const { num_hidden_layers: L, layer_norm_eps, hidden_size: D } = vision.config;
    const hidden = runClipVision(vision, pixels, { hidden: [L] }).hidden.get(L)!; // [B, N, D]
    const cls = tf.reshape(tf.slice(hidden, [0, 0, 0], [-1, 1, D]), [-1, D]) as tf.Tensor2D;
    return toUnitLength(
      linear(weights.visual_projection, layerNorm(weights.post_layernorm, cls, layer_norm_eps)),
    );
  });
}

/**
 * Patches as directions, by the path that CLIP trained for [CLS] alone: projection(LayerNorm(F)), of length 1.
 * @param features [B, P, D]
 * @returns [B, P, projection_dim]
 */
export function embedPatches({ vision, weights }: Clip, features: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => {
    const normed = layerNorm(weights.post_layernorm, features, vision.config.layer_norm_eps);
    return toUnitLength(linear(weights.visual_projection, normed));
  });
}

/**
 * Texts as directions: projection(the state at the end of the text), of length 1.
 * @param ids B rows of token ids, as {@link runClipText} wants them
 * @returns [B, projection_dim]
 */
export function embedTexts({ text, weights }: Clip, ids: number[][]): tf.Tensor2D {
  return tf.tidy(() => toUnitLength(linear(weights.text_projection, runClipText(text, ids).pooled)));
}

/**
 * The cosine of each patch and its picture's text.
 * @param features F [B, P, D]
 * @param ids B rows of token ids
 * @returns [B, P]
 */
export function comparePatches(clip: Clip, features: tf.Tensor3D, ids: readonly number[][]): tf.Tensor2D {
  shape({ features }, 'B P D', { B: ids.length });
  for (const row of ids) checkIds(row, clip.text.config.vocab_size, 'the question');
  return tf.tidy(() => {
    const texts = tf.expandDims(embedTexts(clip, [...ids]), 1); // [B, 1, projection_dim]
    return tf.sum(tf.mul(embedPatches(clip, features), texts), 2);
  });
}

/**
 * How well each text describes each picture: exp(logit_scale) · cosine, transformers' `logits_per_image`. A softmax
 * over the texts gives CLIP's zero-shot probabilities.
 * @param pictures [I, projection_dim] of {@link embedPictures}
 * @param texts [J, projection_dim] of {@link embedTexts}
 * @returns [I, J]
 */
export function contrast({ weights }: Clip, pictures: tf.Tensor2D, texts: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => {
    const { W } = shape({ pictures }, 'I W');
    shape({ texts }, 'J W', { W });
    const cosines = tf.matMul(pictures, tf.transpose(texts));
    return tf.mul(cosines, tf.exp(weights.logit_scale));
  });
}

/** x / |x| along the last axis. */
function toUnitLength<T extends tf.Tensor>(x: T): T {
  return tf.mul(x, tf.rsqrt(tf.sum(tf.square(x), -1, true)));
}
