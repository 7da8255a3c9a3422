import { argmax, without } from './host.ts';

/**
 * Max-min diversity: adds to the chosen patches, one after the other, the patch whose most similar chosen patch is the
 * least similar; the first, where none is chosen, is the one whose nearest neighbour is the farthest. Ties go to the
 * lower index.
 * @param similarity [P, P] of one picture
 * @returns U patches, the chosen ones first
 */
export function addDiverse(similarity: Float32Array, chosen: readonly number[], U: number): number[] {
  const P = Math.sqrt(similarity.length);
  const kept = [...chosen];
  const left = new Set(without(P, chosen));
  const nearest = new Float32Array(P).fill(-Infinity); // similarity to the most similar chosen patch
  const take = (patch: number) => {
    kept.push(patch);
    left.delete(patch);
    approach(patch);
  };
  const approach = (patch: number) => {
    for (let p = 0; p < P; p++) nearest[p] = Math.max(nearest[p], similarity[patch * P + p]);
  };
  for (const patch of chosen) approach(patch);
  if (kept.length === 0) take(argmax([...left], (p) => -similarityToOthers(similarity, P, p)));
  while (kept.length < U) take(argmax([...left], (p) => -nearest[p]));
  return kept;
}

/** Of a patch, to the most similar of the others. */
function similarityToOthers(similarity: Float32Array, P: number, patch: number): number {
  let most = -Infinity;
  for (let p = 0; p < P; p++) if (p !== patch) most = Math.max(most, similarity[patch * P + p]);
  return most;
}
