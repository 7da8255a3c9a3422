/** Pictures in a terminal: two pixels a character where it has colours, a character a patch where it has none. */
import { WriteStream } from 'node:tty';
import { resizeBicubic } from '../image/resize.ts';
import { paste, type Picture } from '../image/picture.ts';
import { blank } from './canvas.ts';

/** Bits of colour of a terminal: 1, 4, 8 or 24. */
export type ColourDepth = number;

const sgr = (...codes: number[]) => `\u001b[${codes.join(';')}m`;

/** Red, green and blue as a terminal of that depth takes them: a cube of six levels a side, or as they are. */
const codesOf = (depth: ColourDepth, [r, g, b]: ArrayLike<number> & Iterable<number>): number[] => {
  if (depth >= 24) return [2, r, g, b];
  const level = (x: number) => Math.round((x / 255) * 5);
  return [5, 16 + 36 * level(r) + 6 * level(g) + level(b)];
};

/**
 * Pictures side by side, each of `columns` characters' width; a character is two pixels, one above the other.
 * @param depth 8 or more
 */
export function paintPictures(pictures: readonly Picture[], columns: number, depth: ColourDepth): string {
  const gap = 2;
  const small = pictures.map((picture) => shrink(picture, columns));
  const height = Math.max(...small.map((picture) => picture.height));
  const sheet = blank(small.length * (columns + gap) - gap, height);
  for (const [i, picture] of small.entries()) paste(picture, sheet, i * (columns + gap), 0);
  const pixel = (x: number, y: number) => {
    const at = 3 * (y * sheet.width + x);
    return sheet.data.subarray(at, at + 3);
  };
  const isGap = (x: number) => x % (columns + gap) >= columns;
  return Array.from({ length: sheet.height / 2 }, (_, line) => {
    const cells = Array.from({ length: sheet.width }, (_, x) =>
      isGap(x)
        ? `${sgr(0)} `
        : `${sgr(38, ...codesOf(depth, pixel(x, 2 * line)), 48, ...codesOf(depth, pixel(x, 2 * line + 1)))}▀`,
    );
    return `${cells.join('')}${sgr(0)}`;
  }).join('\n');
}

const shrink = (picture: Picture, width: number): Picture =>
  resizeBicubic(picture, width, 2 * Math.max(1, Math.round((picture.height * width) / picture.width / 2)));

const shades = ' .:-=+*#%@';

/** A picture as `side` rows of characters, two a patch: the darkest is blank, the brightest `@`. */
export function shadePicture(picture: Picture, side: number): string {
  const { data } = resizeBicubic(picture, side, side);
  const light = Array.from({ length: side ** 2 }, (_, i) => data[3 * i] + data[3 * i + 1] + data[3 * i + 2]);
  const [low, high] = [Math.min(...light), Math.max(...light)];
  const shade = (x: number) => shades[Math.round(((x - low) / (high - low || 1)) * (shades.length - 1))];
  return Array.from({ length: side }, (_, row) =>
    light
      .slice(row * side, (row + 1) * side)
      .map((x) => shade(x).repeat(2))
      .join('')
      .trimEnd(),
  ).join('\n');
}

/** Bits of colour that a stream shows: none where it is no terminal, unless FORCE_COLOR says otherwise. */
export function colourDepth(stream: NodeJS.WriteStream): ColourDepth {
  if (stream.isTTY) return stream.getColorDepth();
  return process.env['FORCE_COLOR'] ? WriteStream.prototype.getColorDepth.call(stream) : 1;
}
