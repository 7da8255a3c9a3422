import { argmax, descending } from './host.ts';

/**
 * Clustering by density peaks over k nearest neighbours (DPC-KNN; Rodriguez and Laio, Science 2014, with the density of
 * Du et al., 2016), as SeTok's and SparseVLM's codes do it:
 *
 *     ρ_i     = exp(−mean of d² to the k nearest, i itself among them)           density
 *     δ_i     = d to the nearest denser token; for the densest, the largest d    how far above its neighbours
 *     centres = top-c of γ = ρ·δ, or all γ above a threshold;  every other token joins its nearest centre
 *
 * In logarithms, for between features that lie far apart exp(−d²) is 0 for all. The released codes break ties by noise; here the lower index of two equally dense tokens counts as the denser, and the
 * lower of two equally near centres gets the token.
 * @param d2 squared distances of n tokens, [n, n]
 * @param k how many neighbours tell a token's density; n at most
 * @param c how many clusters, 1 ≤ c ≤ n; or `above`, a γ that a centre's must exceed, and how many where none does
 * @returns the groups of indices, each with its centre first, by ascending centre
 */
export function clusterByDensity(
  d2: Float64Array,
  k: number,
  c: number | { above: number; otherwise: number },
): [centre: number, ...others: number[]][] {
  const n = Math.sqrt(d2.length);
  const all = Array.from({ length: n }, (_, i) => i);
  const nearest = Math.min(k, n);
  const logDensity = all.map((i) => {
    const row = d2.slice(i * n, (i + 1) * n);
    row[i] = 0; // what rounding left
    return (
      -row
        .sort()
        .subarray(0, nearest)
        .reduce((sum, x) => sum + x, 0) / nearest
    );
  });
  const farthest = d2.reduce((most, x) => Math.max(most, x), 0);
  const logGamma = Float64Array.from(all, (i) => {
    const [own, order] = [logDensity[i], (j: number) => logDensity[j] - logDensity[i]];
    const denser = all.filter((j) => order(j) > 0 || (order(j) === 0 && j < i));
    return own + Math.log(denser.reduce((least, j) => Math.min(least, d2[i * n + j]), farthest)) / 2;
  });
  const passing =
    typeof c === 'number' ? c : logGamma.filter((x) => x > Math.log(c.above)).length || c.otherwise;
  const centres = descending(logGamma)
    .slice(0, passing)
    .sort((i, j) => i - j);
  const groups = new Map(centres.map((centre): [number, [number, ...number[]]] => [centre, [centre]]));
  for (const i of all) {
    if (!groups.has(i)) groups.get(argmax(centres, (centre) => -d2[i * n + centre]))!.push(i);
  }
  return [...groups.values()];
}
