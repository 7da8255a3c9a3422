/** Parts of an open file, read until they are whole. */
import { UserError, messageOf } from '../errors.ts';
import type { ByteSource } from '../folder.ts';

/**
 * `length` bytes from `position` on, in a buffer of their own unless given one. A read may stop short, so it is asked again.
 * @param what is read, in messages
 * @throws UserError where the file ends before, or where there is no memory
 */
export async function readAt(
  source: ByteSource,
  position: number,
  length: number,
  what: string,
  into: Uint8Array = allocate(length, what),
): Promise<Uint8Array> {
  const bytes = into.subarray(0, length);
  let done = 0;
  while (done < length) {
    const bytesRead = await source.read(position + done, bytes.subarray(done));
    if (bytesRead === 0) {
      throw new UserError(`${what} broke off while it was read: ${done} of ${length} bytes were there`);
    }
    done += bytesRead;
  }
  return bytes;
}

/** @throws UserError where there is no memory */
export function allocate(length: number, what: string): Uint8Array {
  try {
    return new Uint8Array(length);
  } catch (error) {
    throw new UserError(`${what} takes ${length} bytes, for which there is no memory: ${messageOf(error)}`);
  }
}
