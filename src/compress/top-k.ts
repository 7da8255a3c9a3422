import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { shape } from '../tensor/axes.ts';

/**
 * The U best patches of each picture, back in raster order. Of equal scores the lower index wins: decided here, on
 * the host, because no backend promises it.
 * @param scores [B, P]
 * @param budget U, 1 ≤ U ≤ P
 * @returns [B, U] int32, strictly ascending in each row
 * @throws UserError when a score is NaN: a comparison with NaN is always false, and any order would come out
 */
export async function keepTopK(scores: tf.Tensor2D, budget: number): Promise<tf.Tensor2D> {
  const { B, P } = shape({ scores }, 'B P');
  if (!Number.isInteger(budget) || budget < 1 || budget > P) {
    throw new Error(`a budget of ${budget} is not between 1 and ${P} patches`);
  }
  const values = await scores.data();
  const kept = Array.from({ length: B }, (_, b) => {
    const row = values.slice(b * P, (b + 1) * P);
    const nan = row.findIndex(Number.isNaN);
    if (nan >= 0)
      throw new UserError(`compress.scores[${b}, ${nan}] is NaN: the weights or the picture hold NaN`);
    const best = Array.from(row.keys()).sort((i, j) => row[j] - row[i] || i - j);
    return best.slice(0, budget).sort((i, j) => i - j);
  });
  return tf.tensor2d(kept, [B, budget], 'int32');
}
