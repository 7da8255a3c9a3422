import * as tf from '@tensorflow/tfjs-core';
import type { Compressed, VisionFeatures } from './method.ts';

/**
 * Each picture's own patches.
 * @param choices for each of B pictures U places, in any order; they go back to raster order
 */
export function keepEach(
  { at, batch }: VisionFeatures,
  choices: readonly (readonly number[])[],
  scores?: tf.Tensor2D,
): Compressed {
  const rows = choices.map((places) => [...places].sort((a, b) => a - b));
  const kept = tf.tensor2d(rows, [batch, rows[0].length], 'int32');
  return { tokens: at(kept), kept, scores };
}

/**
 * The same patches of every picture, whatever it shows.
 * @param places U of them
 */
export const keepSame = (features: VisionFeatures, places: readonly number[]): Compressed =>
  keepEach(
    features,
    Array.from({ length: features.batch }, () => places),
  );
