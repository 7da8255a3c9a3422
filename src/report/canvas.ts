import type { Picture } from '../image/picture.ts';

/** An all-white picture. */
export function blank(width: number, height: number): Picture {
  return { width, height, data: new Uint8Array(width * height * 3).fill(255) };
}

/** Draws one picture on another, in place, its top left corner at (x, y). */
export function paste(canvas: Picture, picture: Picture, x: number, y: number): void {
  for (let row = 0; row < picture.height; row++) {
    const line = picture.data.subarray(row * picture.width * 3, (row + 1) * picture.width * 3);
    canvas.data.set(line, ((y + row) * canvas.width + x) * 3);
  }
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
