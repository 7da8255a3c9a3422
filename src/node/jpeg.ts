/** Where the segments of a JPEG lie. */
interface Segment {
  marker: number;
  at: number;
  length: number;
  body: Buffer;
}

/** Marker segments up to the first scan's, without the bytes between them that are none's. */
export function* jpegSegments(file: Buffer): Generator<Segment> {
  for (let at = 2; at + 4 <= file.length;) {
    const marker = file[at + 1];
    if (file[at] !== 0xff || marker === 0xff || marker === 0) {
      at++;
    } else if ((marker >= 0xd0 && marker <= 0xd9) || marker === 0xc8 || (marker >= 0xf0 && marker <= 0xfd)) {
      at += 2; // stands alone
    } else {
      const length = 2 + Math.max(2, file.readUInt16BE(at + 2));
      yield { marker, at, length, body: file.subarray(at + 4, at + length) };
      if (marker === 0xda) return;
      at += length;
    }
  }
}

/** Whether bytes that are no segment's lie among those before the first scan of a JPEG. */
export function hasJunk(bytes: Uint8Array): boolean {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let end = 2;
  for (const { at, length } of jpegSegments(file)) {
    if (file.subarray(end, at).some((byte) => byte !== 0xff)) return true;
    end = at + length;
  }
  return false;
}

/**
 * The first marker after the first scan's that cannot stand there: among intact pixels there are restart markers only.
 * @returns its second byte
 */
export function findStrayMarker(bytes: Uint8Array): number | undefined {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 2;
  for (const segment of jpegSegments(file)) at = segment.at + segment.length;
  while ((at = file.indexOf(0xff, at)) >= 0 && at + 1 < file.length) {
    const marker = file[at + 1];
    if (marker === 0xd9) return undefined; // the end
    const frame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xcc].includes(marker);
    if (marker === 0 || marker === 0xff || (marker >= 0xd0 && marker <= 0xd7)) {
      at += marker === 0xff ? 1 : 2;
    } else if (frame || marker === 0xd8 || marker < 0xc0 || (marker >= 0xf0 && marker <= 0xfd)) {
      return marker;
    } else {
      at += at + 4 <= file.length ? 2 + file.readUInt16BE(at + 2) : 2;
    }
  }
  return undefined;
}
