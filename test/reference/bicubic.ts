import type { Picture } from '../../src/image/picture.ts';

/**
 * Antialiased bicubic resize straight from its definition, in float64: along x, then along y, each output
 * pixel the weighted mean of *all* input pixels of its line, rounded to a byte after each axis.
 */
export function resizeBicubicNaive(picture: Picture, width: number, height: number): Picture {
  return transpose(resizeX(transpose(resizeX(picture, width)), height));
}

function resizeX(picture: Picture, width: number): Picture {
  const scale = picture.width / width;
  return mapPixels(width, picture.height, (x, y, c) => {
    let sum = 0;
    let total = 0;
    for (let u = 0; u < picture.width; u++) {
      const distance = u + 0.5 - (x + 0.5) * scale; // between pixel centres, in input pixels
      const weight = kernel(Math.abs(distance) / Math.max(scale, 1));
      sum += weight * at(picture, u, y, c);
      total += weight;
    }
    return Math.min(255, Math.max(0, Math.round(sum / total)));
  });
}

/** Keys 1981, equation 4, whose a = -1/2: (3/2)d³ - (5/2)d² + 1, then -(1/2)d³ + (5/2)d² - 4d + 2. */
function kernel(d: number): number {
  if (d <= 1) return 1.5 * d ** 3 - 2.5 * d ** 2 + 1;
  if (d <= 2) return -0.5 * d ** 3 + 2.5 * d ** 2 - 4 * d + 2;
  return 0;
}

/** Make a picture from its value at each column, row and channel. */
export function mapPixels(
  width: number,
  height: number,
  value: (x: number, y: number, c: number) => number,
): Picture {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const pixel = Math.floor(i / 3);
    return value(pixel % width, Math.floor(pixel / width), i % 3);
  });
  return { width, height, data };
}

/** One channel of one pixel. */
export function at(picture: Picture, x: number, y: number, c: number): number {
  return picture.data[(y * picture.width + x) * 3 + c];
}

/** Rows to columns. */
export function transpose(picture: Picture): Picture {
  return mapPixels(picture.height, picture.width, (x, y, c) => at(picture, y, x, c));
}
