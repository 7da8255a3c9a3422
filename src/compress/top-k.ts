import * as tf from '@tensorflow/tfjs-core';
import { shape } from '../tensor/axes.ts';
import { descending, readPictures } from './host.ts';
import type { Compressed, VisionFeatures } from './method.ts';

/**
 * The U best patches of each picture, back in raster order. Of equal scores the lower index wins: decided here, on
 * the host, because no backend promises it.
 * @param scores [B, P]
 * @param budget U, 1 ≤ U ≤ P
 * @returns [B, U] int32, strictly ascending in each row
 * @throws UserError when a score is NaN
 */
export async function keepTopK(scores: tf.Tensor2D, budget: number): Promise<tf.Tensor2D> {
  const { B, P } = shape({ scores }, 'B P');
  if (!Number.isInteger(budget) || budget < 1 || budget > P) {
    throw new Error(`a budget of ${budget} is not between 1 and ${P} patches`);
  }
  const pictures = await readPictures('compress.scores', scores);
  const kept = pictures.map((row) =>
    descending(row)
      .slice(0, budget)
      .sort((i, j) => i - j),
  );
  return tf.tensor2d(kept, [B, budget], 'int32');
}

/**
 * What a method returns that keeps the best patches.
 * @param scores [B, P]; part of the result, or disposed here when this fails
 */
export async function keepBest(
  { at }: VisionFeatures,
  scores: tf.Tensor2D,
  budget: number,
): Promise<Compressed> {
  try {
    const kept = await keepTopK(scores, budget); // [B, U]
    return { tokens: at(kept), kept, scores };
  } catch (error) {
    scores.dispose();
    throw error;
  }
}
