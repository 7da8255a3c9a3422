/** Pictures that are not square stand in the middle of the square that the tower takes, with grey around them. */
import { grid, side, type Box } from './things.ts';

/** The part of the square that shows something. */
export type Frame = Box;

/** All of it. */
export const wholeFrame: Frame = [0, 0, side, side];

/** What a picture's width and height may be, pixels: quarters of such pictures are cut into whole patches too. */
export const frameSides = [48, 64, 80] as const;

/** A picture of so many pixels, in the middle. */
export function frameOf(width: number, height: number): Frame {
  const [x, y] = [width, height].map((length) => (side - length) / 2);
  return [x, y, x + width, y + height];
}

/**
 * The patches that lie in a frame: those that LLaVA-NeXT leaves when it unpads.
 * @param patch side of a patch, pixels
 * @returns their places among (side / patch)², ascending
 */
export function framePatches([x0, y0, x1, y1]: Frame, patch: number = grid): number[] {
  const across = side / patch;
  return [...Array(across * across).keys()].filter((p) => {
    const [x, y] = [(p % across) * patch, Math.floor(p / across) * patch];
    return x >= x0 && x + patch <= x1 && y >= y0 && y + patch <= y1;
  });
}

/** The grey of what is no picture. */
const padding = 127;

/** Fills what lies outside of a frame. @param data [side, side, 3], changed in place */
export function padAround(data: Uint8Array, [x0, y0, x1, y1]: Frame): void {
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const inside = x >= x0 && x < x1 && y >= y0 && y < y1;
      if (!inside) data.fill(padding, 3 * (y * side + x), 3 * (y * side + x + 1));
    }
  }
}
