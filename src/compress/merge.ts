import * as tf from '@tensorflow/tfjs-core';
import { mixTokens } from '../tensor/similarity.ts';
import { argmax } from './host.ts';
import type { Compressed, Fates, VisionFeatures } from './method.ts';

/** How one new token is made: patch → weight; a patch that is not named has weight 0. */
export type Recipe = ReadonlyMap<number, number>;

/** A patch as it is. */
export const keepPatch = (patch: number): Recipe => new Map([[patch, 1]]);

/** The mean of some patches. */
export const meanOf = (patches: readonly number[]): Recipe =>
  new Map(patches.map((patch) => [patch, 1 / patches.length]));

/**
 * F' = W·F: every new token a weighted sum of patches.
 * @param recipes for each of B pictures U rows of W
 */
export function mergePatches(
  { all, batch, patches: P }: VisionFeatures,
  recipes: readonly (readonly Recipe[])[],
): Required<Pick<Compressed, 'tokens' | 'fates'>> {
  const U = recipes[0].length;
  const weights = new Float32Array(batch * U * P);
  for (const [b, rows] of recipes.entries()) {
    for (const [u, row] of rows.entries()) {
      for (const [patch, weight] of row) weights[(b * U + u) * P + patch] = weight;
    }
  }
  const tokens = tf.tidy(() => mixTokens(tf.tensor3d(weights, [batch, U, P]), all()));
  return { tokens, fates: () => recipes.map((rows) => tellFates(rows, P)) };
}

/** A patch belongs to the token that it weighs most in, the first of equals. */
function tellFates(rows: readonly Recipe[], P: number): Fates {
  const alone = rows.flatMap((row) => [...row].filter(([, weight]) => row.size === 1 && weight === 1));
  const groups = Array.from({ length: P }, (_, patch) => {
    const weigh = (u: number) => rows[u].get(patch) ?? 0;
    const most = argmax([...rows.keys()], weigh);
    return weigh(most) > 0 ? most : -1;
  });
  const kept = alone.map(([patch]) => patch).sort((p, q) => p - q);
  return { kept, made: rows.length - kept.length, groups };
}
