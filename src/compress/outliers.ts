/** Which values are above Q₃ + 1.5·(Q₃ − Q₁): Tukey's rule. */
export function findOutliers(values: ArrayLike<number>): boolean[] {
  const sorted = Array.from(values).sort((a, b) => a - b);
  const [lower, upper] = [0.25, 0.75].map((share) => quantile(sorted, share));
  const most = upper + 1.5 * (upper - lower);
  return Array.from(values, (value) => value > most);
}

/** Between the two nearest of the sorted values, as NumPy has it. */
export function quantile(sorted: readonly number[], share: number): number {
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}
