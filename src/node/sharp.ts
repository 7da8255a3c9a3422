import type sharp from 'sharp';
import { UserError } from '../errors.ts';

/**
 * The picture library, loaded when the first picture is read or written: its binary is an optional package, and
 * what needs no picture runs without.
 *
 * @throws UserError that says how to install it
 */
export async function loadSharp(): Promise<typeof sharp> {
  try {
    return (await import('sharp')).default;
  } catch {
    throw new UserError(
      `pictures cannot be read or written: sharp has no binary for ${process.platform}-${process.arch} here; ` +
        'npm install --include=optional sharp brings it',
    );
  }
}
