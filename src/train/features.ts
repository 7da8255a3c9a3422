/** What the projector sees, brought to a common scale while it learns; afterwards the scale goes into its weights. */
import * as tf from '@tensorflow/tfjs-core';
import type { LlavaConfig } from '../checkpoint/architecture.ts';
import { standardise, type ChannelScale } from '../compress/trained/system.ts';
import type { ProjectorWeights } from '../projector.ts';
import { isHalf } from '../tensor/half.ts';
import type { Linear } from '../tensor/linear.ts';
import { runClipVision, type ClipVision } from '../vision/clip.ts';
import type { Scene } from '../world/scene.ts';

/** Mean and standard deviation of each channel, [D]. */
export type FeatureScale = ChannelScale;
export { standardise };

/**
 * The patches of the hidden state that LLaVA's config selects.
 * @param pixels [B, S, S, 3]
 * @param patches some of them; all P where left out
 * @returns [B, P, D]
 */
export function readFeatures(
  vision: ClipVision,
  pixels: tf.Tensor4D,
  config: LlavaConfig,
  patches?: readonly number[],
): tf.Tensor3D {
  return tf.tidy(() => {
    const [layer] = config.vision_feature_layer;
    const hidden = runClipVision(vision, pixels, { hidden: [layer] }).hidden.get(layer)!; // [B, N, D]
    const [B, N, D] = hidden.shape;
    const all = tf.slice(hidden, [0, 1, 0], [B, N - 1, D]);
    return patches ? tf.gather(all, [...patches], 1) : all;
  });
}

/** Measures the channels over some scenes, `atOnce` of them at a time. */
export function measureFeatures(
  scenes: readonly Scene[],
  atOnce: number,
  look: (scenes: readonly Scene[]) => tf.Tensor3D,
): FeatureScale {
  return tf.tidy(() => {
    const means: tf.Tensor[] = [];
    const squares: tf.Tensor[] = [];
    for (let first = 0; first < scenes.length; first += atOnce) {
      const features = look(scenes.slice(first, first + atOnce)); // [B, P, D]
      means.push(tf.mean(features, [0, 1]));
      squares.push(tf.mean(tf.square(features), [0, 1]));
      features.dispose();
    }
    const mean: tf.Tensor1D = tf.mean(tf.stack(means), 0);
    const variance = tf.sub(tf.mean(tf.stack(squares), 0), tf.square(mean));
    const deviation: tf.Tensor1D = tf.sqrt(tf.maximum(variance, 1e-6));
    return { mean, deviation };
  });
}

/**
 * The inverse of {@link foldScale}: a trained projector as one of standardised features, to learn on. Adam's steps are as long
 * for a weight of a channel with mean 60 as for one with mean 0, so that plain features would throw such a projector about.
 *
 *     W = W′ · deviation, row by row          b = b′ + mean·W′
 */
export function unfoldScale({ linear_1, linear_2 }: ProjectorWeights, scale: FeatureScale): ProjectorWeights {
  const { weight, bias } = wholeLayer(linear_1);
  const unfolded = tf.tidy(() => {
    const D = weight.shape[0];
    const shift = tf.matMul(tf.reshape(scale.mean, [1, D]), weight); // [1, E]
    const scaled: tf.Tensor2D = tf.mul(weight, tf.reshape(scale.deviation, [D, 1]));
    const moved: tf.Tensor1D = tf.add(bias, tf.reshape(shift, [-1]));
    return { weight: scaled, bias: moved };
  });
  return { linear_1: unfolded, linear_2 };
}

function wholeLayer({ weight, bias }: Linear): { weight: tf.Tensor2D; bias: tf.Tensor1D } {
  if (Array.isArray(weight) || isHalf(weight) || !bias)
    throw new Error('the projector in training has a whole matrix and a bias');
  return { weight, bias };
}

/**
 * The projector that does to plain features what the given one does to standardised ones:
 *
 *     W′ = W / deviation, row by row          b′ = b − (mean / deviation)·W
 *
 * @returns new tensors for the first layer, the given ones for the second
 */
export function foldScale({ linear_1, linear_2 }: ProjectorWeights, scale: FeatureScale): ProjectorWeights {
  const { weight, bias } = wholeLayer(linear_1);
  const folded = tf.tidy(() => {
    const D = weight.shape[0];
    const scaled: tf.Tensor2D = tf.div(weight, tf.reshape(scale.deviation, [D, 1]));
    const shift = tf.matMul(tf.reshape(scale.mean, [1, D]), scaled); // [1, E]
    const moved: tf.Tensor1D = tf.sub(bias, tf.reshape(shift, [-1]));
    return { weight: scaled, bias: moved };
  });
  return { linear_1: folded, linear_2 };
}
