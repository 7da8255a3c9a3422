/** Intersection over union: 1 for the same box, 0 for boxes apart or of no area. */
export function overlap(a: readonly number[], b: readonly number[]): number {
  const length = (from: number, to: number) => Math.max(0, to - from);
  const area = ([x0, y0, x1, y1]: readonly number[]) => length(x0, x1) * length(y0, y1);
  const both =
    length(Math.max(a[0], b[0]), Math.min(a[2], b[2])) * length(Math.max(a[1], b[1]), Math.min(a[3], b[3]));
  const union = area(a) + area(b) - both;
  return union > 0 ? both / union : 0;
}
