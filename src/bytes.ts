/** What a file's bytes say before anything parses them. */
import { UserError } from './errors.ts';

/**
 * The text of a file that should be text. As Python's readers, it takes no byte-order mark and nothing but UTF-8.
 * @throws UserError naming the file
 */
export function decodeText(bytes: Uint8Array, file: string): string {
  refusePointer(bytes, file);
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    throw new UserError(`${file} begins with a byte-order mark: save it as UTF-8 without one`);
  }
  return decodeUtf8(bytes, file);
}

/** @throws UserError naming the text and its first byte that is no UTF-8 */
export function decodeUtf8(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    const bad = firstBad(bytes);
    throw new UserError(`${what} is not UTF-8: byte ${bad} is 0x${bytes[bad].toString(16).padStart(2, '0')}`);
  }
}

/** Where the first U+FFFD of the decoded text is that the bytes do not hold themselves. */
function firstBad(bytes: Uint8Array): number {
  const read = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  const encoder = new TextEncoder();
  let at = 0; // in the bytes …
  let begin = 0; // … and, the same place, in the text
  for (;;) {
    const next = read.indexOf('\uFFFD', begin);
    at += encoder.encode(read.slice(begin, next)).length;
    if (!(bytes[at] === 0xef && bytes[at + 1] === 0xbf && bytes[at + 2] === 0xbd)) return at;
    at += 3;
    begin = next + 1;
  }
}

/** Bytes as Latin-1, a character each, as signatures are matched against. */
export const decodeLatin1 = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');

const pointerStart = 'version https://git-lfs.github.com/spec/';

/** @throws UserError for what a clone without git-lfs leaves in a large file's place */
export function refusePointer(bytes: Uint8Array, file: string): void {
  if (decodeLatin1(bytes.subarray(0, pointerStart.length)) === pointerStart) {
    throw new UserError(
      `${file} is a git-lfs pointer, not the file itself: run git lfs pull in its repository`,
    );
  }
}
