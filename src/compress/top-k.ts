import { picking } from '../tensor/token-matrix.ts';
import { descending } from './host.ts';
import type { Choice } from './method.ts';

/**
 * The U best of each picture's patches, back in raster order. Of equal scores the lower index wins: decided here, on the
 * host, because no backend promises it.
 * @param scores [B][P], none of them NaN
 * @param budget U, 1 ≤ U ≤ P
 * @returns [B][U], strictly ascending in each row
 */
export function keepTopK(scores: readonly Float32Array[], budget: number): number[][] {
  const P = scores[0].length;
  if (!Number.isInteger(budget) || budget < 1 || budget > P) {
    throw new Error(`a budget of ${budget} is not between 1 and ${P} patches`);
  }
  return scores.map((row) =>
    descending(row)
      .slice(0, budget)
      .sort((i, j) => i - j),
  );
}

/** What a method chooses that keeps the best patches. */
export const keepBest = (
  scores: readonly Float32Array[],
  budget: number,
): Required<Pick<Choice, 'W' | 'scores'>> => ({
  W: picking(keepTopK(scores, budget), scores[0].length),
  scores,
});
