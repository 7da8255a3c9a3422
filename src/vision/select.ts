import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { countPictures, type ImagePrompt } from '../text/prompt.ts';
import type { VisionOutput } from './clip.ts';

/** What the projector takes of a tower. */
export type SelectedFeatures = {
  F: tf.Tensor3D; // [B, P, D] of the patches
  cls?: tf.Tensor3D; // [B, 1, D] of [CLS], where the tower has one
};

/**
 * F = hidden[−2][:, 1:], or what else the checkpoint selects; several layers lie side by side.
 * @param layers their indices in `hidden`, from 0
 */
export function selectFeatures(
  hidden: VisionOutput['hidden'],
  layers: readonly number[],
  prefixTokens: 0 | 1,
): SelectedFeatures {
  return tf.tidy(() => {
    const tokens = tf.concat(
      layers.map((layer) => hidden.get(layer)!),
      2,
    ); // [B, N, D]
    if (prefixTokens === 0) return { F: tokens };
    const [cls, F] = tf.split<tf.Tensor3D>(tokens, [1, tokens.shape[1] - 1], 1);
    return { F, cls };
  });
}

/**
 * @param views V, where a picture is seen as so many
 * @throws UserError unless every picture has its place in a prompt
 */
export function checkPictures(pixels: tf.Tensor4D, prompts: readonly ImagePrompt[], views = 1): void {
  const B = pixels.shape[0] / views;
  const count = prompts.reduce((sum, prompt) => sum + countPictures(prompt), 0);
  if (pixels.shape.length !== 4 || B === count) return;
  const have = count === prompts.length ? '' : ` with ${count} pictures`;
  throw new UserError(`pixels are of ${B} pictures, but there are ${prompts.length} prompts${have}`);
}

/**
 * Numbers that are none would be heard of in the decoder only, or never.
 * @throws UserError for pixels that are disposed, of another shape than [B, S, S, 3], or no numbers
 */
export async function checkPixels(pixels: tf.Tensor4D, S: number): Promise<void> {
  if (pixels.isDisposed) throw new UserError('pixels are disposed');
  const [B, ...sides] = pixels.shape;
  if (pixels.dtype !== 'float32' || !(B >= 1) || sides.join() !== [S, S, 3].join()) {
    throw new UserError(
      `pixels are ${pixels.dtype} [${pixels.shape.join(', ')}], should be float32 [B, ${S}, ${S}, 3]`,
    );
  }
  const bad = (await pixels.data()).find((value) => !Number.isFinite(value));
  if (bad !== undefined) throw new UserError(`pixels hold ${bad}`);
}
