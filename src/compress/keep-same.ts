import * as tf from '@tensorflow/tfjs-core';
import type { Compressed, VisionFeatures } from './method.ts';

/**
 * The same patches of every picture, whatever it shows.
 * @param places U of them, ascending
 */
export function keepSame({ at, batch }: VisionFeatures, places: readonly number[]): Compressed {
  const rows = Array.from({ length: batch }, () => [...places]);
  const kept = tf.tensor2d(rows, [batch, places.length], 'int32');
  return { tokens: at(kept), kept };
}
