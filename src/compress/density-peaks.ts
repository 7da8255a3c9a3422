/**
 * Clustering by density peaks (DPC-KNN), as SparseVLM's code does it over few tokens.
 *
 *     D_ij = ‖x_i − x_j‖ / √E
 *     ρ_i  = exp(−mean of D² to the k nearest, itself among them)                density
 *     δ_i  = D to the nearest denser token; for the densest, the largest D       how far above its neighbours
 *     centres = top-c of ρ·δ;  every other token joins its nearest centre
 *
 * The released code breaks ties by noise of 1e-6; here the earlier of two equally dense tokens counts as the denser, and
 * the earlier of two equally near centres gets the token. k = c, as there: with c = 1 all tokens are equally dense, and the
 * first is the centre. On the host, in float64.
 * @param x n tokens of E numbers
 * @param c how many clusters, 1 ≤ c ≤ n
 * @returns c groups of indices into x, each with its centre first
 */
export function clusterByDensity(x: readonly ArrayLike<number>[], c: number): number[][] {
  const all = x.map((_, i) => i);
  const D = x.map((a) => x.map((b) => distance(a, b)));
  const density = D.map((row) => {
    const nearest = [...row].sort((a, b) => a - b).slice(0, c);
    return Math.exp(-nearest.reduce((sum, d) => sum + d * d, 0) / c);
  });
  const denser = (j: number, i: number) => density[j] > density[i] || (density[j] === density[i] && j < i);
  const largest = Math.max(...D.flat());
  const height = all.map((i) => Math.min(largest, ...all.filter((j) => denser(j, i)).map((j) => D[i][j])));
  const score = all.map((i) => density[i] * height[i]);
  const centres = [...all].sort((i, j) => score[j] - score[i] || i - j).slice(0, c);
  const groups = new Map(centres.map((centre) => [centre, [centre]]));
  for (const i of all) {
    if (groups.has(i)) continue;
    const nearest = centres.reduce((best, centre) => (D[i][centre] < D[i][best] ? centre : best));
    groups.get(nearest)!.push(i);
  }
  return [...groups.values()];
}

function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let e = 0; e < a.length; e++) sum += (a[e] - b[e]) ** 2;
  return Math.sqrt(sum / a.length);
}
