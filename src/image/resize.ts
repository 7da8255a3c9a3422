import type { Picture, Sides } from './picture.ts';

// Weights are integers in units of 2^-22: with 8-bit pixels and 2 spare bits for the overshoot of the
// cubic, a weighted sum still fits in 32 bits.
const PRECISION_BITS = 32 - 8 - 2;
const HALF = 2 ** (PRECISION_BITS - 1);
const MAX_WEIGHTS = 2 ** 20;

/** What one output pixel is made of along one axis: `weights[t]` of input pixel `first + t`. */
interface Taps {
  first: number;
  weights: Int32Array;
}

/** Pillow 12.3's order: along y first where a picture more than 100 times as tall as wide gets less tall. */
function goesYFirst(from: Sides, to: Sides): boolean {
  return from.height > 100 * from.width && to.height < from.height;
}

/** What lies between the two passes of {@link resizeBicubic}. */
export function sizeBetween(from: Sides, to: Sides): Sides {
  return goesYFirst(from, to)
    ? { width: from.width, height: to.height }
    : { width: to.width, height: from.height };
}

/**
 * Resize as Pillow 12.3's `Image.resize((width, height), BICUBIC)` does, byte for byte.
 *
 * Bicubic with antialiasing: when shrinking, the cubic is stretched to cover as many input pixels as one
 * output pixel stands for. First along x, then along y (very tall pictures that shrink: y, then x), rounded to bytes
 * after each; an axis that keeps its size is left alone. The arithmetic is Pillow's fixed point, so that pixels equal
 * those of the Python pipeline exactly.
 */
export function resizeBicubic(picture: Picture, width: number, height: number): Picture {
  if (!(width >= 1 && height >= 1)) throw new RangeError(`cannot resize to ${width} × ${height} pixels`);
  const to = { width, height };
  const { data } = [sizeBetween(picture, to), to].reduce(resampleTo, picture);
  return { width, height, data: data === picture.data ? data.slice() : data };
}

/** One pass, along the axis in which the sizes differ; none where they are the same. */
function resampleTo(picture: Picture, { width, height }: Sides): Picture {
  let { data } = picture; // [height0, width0, 3]
  if (width !== picture.width) {
    data = resampleAxis(data, picture.height, picture.width, 3, width); // [height0, width, 3]
  } else if (height !== picture.height) {
    data = resampleAxis(data, 1, picture.height, width * 3, height); // [height, width0, 3]
  }
  return { width, height, data };
}

/** [outer, size, inner] → [outer, newSize, inner] */
function resampleAxis(data: Uint8Array, outer: number, size: number, inner: number, newSize: number) {
  const output = new Uint8ClampedArray(outer * newSize * inner); // clamped: the cubic overshoots
  // So many outputs at a time that their weights stay few, whatever the two sizes.
  const block = Math.max(1, Math.floor(MAX_WEIGHTS / (4 * Math.max(size / newSize, 1) + 1)));
  for (let begin = 0; begin < newSize; begin += block) {
    const taps = computeTaps(size, newSize, begin, Math.min(begin + block, newSize));
    for (let o = 0; o < outer; o++) {
      let at = (o * newSize + begin) * inner;
      for (const { first, weights } of taps) {
        const start = (o * size + first) * inner;
        for (let i = 0; i < inner; i++) {
          let sum = HALF;
          for (let t = 0; t < weights.length; t++) sum += weights[t] * data[start + t * inner + i];
          output[at++] = sum >> PRECISION_BITS;
        }
      }
    }
  }
  return new Uint8Array(output.buffer);
}

/** Of the outputs from `begin` up to `end`. */
function computeTaps(size: number, newSize: number, begin: number, end: number): Taps[] {
  const scale = Math.fround(size) / newSize; // input pixels per output pixel; Pillow keeps its box in float32
  const stretch = Math.max(scale, 1);
  const support = 2 * stretch;
  return Array.from({ length: end - begin }, (_, i) => {
    const centre = (begin + i + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const last = Math.min(Math.trunc(centre + support + 0.5), size);
    const raw = Array.from({ length: last - first }, (_, t) =>
      kernel((first + t + 0.5 - centre) * (1 / stretch)),
    );
    const total = raw.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: Int32Array.from(raw, (weight) => toFixedPoint(weight / total)) };
  });
}

/** Keys' cubic convolution kernel; zero from |x| = 2 on. Pillow has a = -1/2, PyTorch's interpolation -3/4. */
export const cubic =
  (a: number) =>
  (x: number): number => {
    const d = Math.abs(x);
    if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
    if (d < 2) return (((d - 5) * d + 8) * d - 4) * a;
    return 0;
  };
const kernel = cubic(-0.5);

/** Nearest integer, halves away from zero. */
function toFixedPoint(weight: number): number {
  return Math.trunc(weight * 2 ** PRECISION_BITS + (weight < 0 ? -0.5 : 0.5));
}
