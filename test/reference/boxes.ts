/** Boxes in float64, corner by corner. */

/** 1 − GIoU of a box between two corners, whichever way round, and (x0, y0, x1, y1). */
export function giouLossOf(corners: readonly number[], b: readonly number[]): number {
  const [p, q, r, s] = corners;
  const a = [p < r ? p : r, q < s ? q : s, p < r ? r : p, q < s ? s : q];
  const side = (from: number, to: number) => (to > from ? to - from : 0);
  const area = (box: readonly number[]) => side(box[0], box[2]) * side(box[1], box[3]);
  const left = a[0] > b[0] ? a[0] : b[0];
  const top = a[1] > b[1] ? a[1] : b[1];
  const right = a[2] < b[2] ? a[2] : b[2];
  const bottom = a[3] < b[3] ? a[3] : b[3];
  const both = area([left, top, right, bottom]);
  const either = area(a) + area(b) - both;
  const around = area([
    a[0] < b[0] ? a[0] : b[0],
    a[1] < b[1] ? a[1] : b[1],
    a[2] > b[2] ? a[2] : b[2],
    a[3] > b[3] ? a[3] : b[3],
  ]);
  return 1 - (both / either - (around - either) / around);
}
