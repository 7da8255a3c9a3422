import { UserError } from '../errors.ts';

/** A picture as bytes: RGB, 3 bytes a pixel, row after row; `data.length` is `width * height * 3`. */
export interface Picture {
  width: number;
  height: number;
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
