import type { Picture } from '../image/picture.ts';

/** An all-white picture. */
export function blank(width: number, height: number): Picture {
  return { width, height, data: new Uint8Array(width * height * 3).fill(255) };
}

/** Enlarges by a whole factor, each pixel a square. */
export function enlarge({ width, height, data }: Picture, factor: number): Picture {
  const large = blank(width * factor, height * factor);
  for (let y = 0; y < large.height; y++) {
    for (let x = 0; x < large.width; x++) {
      const from = (Math.floor(y / factor) * width + Math.floor(x / factor)) * 3;
      large.data.set(data.subarray(from, from + 3), (y * large.width + x) * 3);
    }
  }
  return large;
}

/** A new picture whose pixels are a function of the old ones. */
export function mapPixels(
  { width, height, data }: Picture,
  change: (rgb: Uint8Array, x: number, y: number) => readonly number[],
): Picture {
  const changed = blank(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = (y * width + x) * 3;
      changed.data.set(change(data.subarray(i, i + 3), x, y), i);
    }
  }
  return changed;
}
