const ORIENTATION = 0x0112;

type Read = (view: DataView, little: boolean) => number;

// TIFF's types: bytes a value, and how the first one is read; bytes and text are no numbers.
const TYPES: Record<number, [size: number, read?: Read]> = {
  1: [1],
  2: [1],
  3: [2, (view, little) => view.getUint16(0, little)],
  4: [4, (view, little) => view.getUint32(0, little)],
  5: [8, (view, little) => view.getUint32(0, little) / view.getUint32(4, little)],
  6: [1, (view) => view.getInt8(0)],
  7: [1],
  8: [2, (view, little) => view.getInt16(0, little)],
  9: [4, (view, little) => view.getInt32(0, little)],
  10: [8, (view, little) => view.getInt32(0, little) / view.getInt32(4, little)],
  11: [4, (view, little) => view.getFloat32(0, little)],
  12: [8, (view, little) => view.getFloat64(0, little)],
  13: [4, (view, little) => view.getUint32(0, little)],
  16: [8, (view, little) => Number(view.getBigUint64(0, little))],
};

/**
 * The orientation tag of EXIF data, as Pillow 12.3's `Image.Exif` reads it: from the first directory, up to the
 * first entry whose value lies outside of the data; the last of several tags counts.
 *
 * @param data - a TIFF header and what it points to, perhaps after `Exif\0\0`
 * @returns the tag's first value, NaN where it is no number, undefined where there is no such tag
 * @throws Error where there is no TIFF header
 */
export function readExifOrientation(data: Uint8Array): number | undefined {
  let bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
  while (bytes.toString('latin1', 0, 6) === 'Exif\0\0') bytes = bytes.subarray(6);
  if (bytes.length === 0) return undefined;

  const magic = bytes.toString('latin1', 0, 4);
  if (bytes.length < 8 || !/^((II|MM)(\0\*|\*\0)|MM\0\+)$/.test(magic))
    throw new Error('its EXIF has no TIFF header');
  const little = magic.startsWith('II');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const has = (at: number, size: number) => at + size <= bytes.length;

  let orientation: number | undefined;
  const directory = view.getUint32(4, little);
  const entries = has(directory, 2) ? view.getUint16(directory, little) : 0;
  for (let i = 0; i < entries; i++) {
    const entry = directory + 2 + i * 12; // tag, type, count, and the value or where it is
    if (!has(entry, 12)) break;
    const [unit, read] = TYPES[view.getUint16(entry + 2, little)] ?? [0];
    const size = unit * view.getUint32(entry + 4, little);
    if (size === 0) continue;
    const at = size <= 4 ? entry + 8 : view.getUint32(entry + 8, little);
    if (!has(at, size)) break;
    if (view.getUint16(entry, little) !== ORIENTATION) continue;
    orientation = read ? read(new DataView(bytes.buffer, bytes.byteOffset + at, unit), little) : NaN;
  }
  return orientation;
}
