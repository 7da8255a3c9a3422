import { UserError } from '../errors.ts';

/** Width and height, in pixels. */
export interface Sides {
  width: number;
  height: number;
}

/** A picture as bytes: RGB, 3 bytes a pixel, row after row; `data.length` is `width * height * 3`. */
export interface Picture extends Sides {
  data: Uint8Array;
}

/** No picture larger than this is decoded or made: a few bytes of file can claim any size. */
export const MAX_PIXELS = 100_000_000;

/**
 * Refuse a picture that is too large, before its memory is asked for.
 *
 * @param what - subject of the message: a file name, or a description such as "a picture of 9 × 1 pixels resized"
 * @throws UserError above {@link MAX_PIXELS}
 */
export function checkPixels(what: string, width: number, height: number): void {
  if (width * height > MAX_PIXELS) {
    throw new UserError(
      `${what} has ${width} × ${height} = ${width * height} pixels, more than the limit of ${MAX_PIXELS}`,
    );
  }
}

/** Lay `picture` on `ground` with its corner at (left, top), which may be negative; returns `ground`. */
export function paste(picture: Picture, ground: Picture, left: number, top: number): Picture {
  const from = Math.max(0, -left);
  const to = Math.min(picture.width, ground.width - left);
  for (let y = Math.max(0, -top); y < Math.min(picture.height, ground.height - top); y++) {
    const row = picture.data.subarray((y * picture.width + from) * 3, (y * picture.width + to) * 3);
    ground.data.set(row, ((y + top) * ground.width + from + left) * 3);
  }
  return ground;
}
