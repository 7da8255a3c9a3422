/**
 * Which way up a picture is, by the rule of Pillow 12.3's `ImageOps.exif_transpose`: the EXIF orientation tag; where
 * there is none, `tiff:Orientation` in XMP, as an attribute or an element. A PNG's EXIF is in `eXIf`, in a text of the
 * keyword `exif`, or in ImageMagick's `Raw profile type exif`. Values other than 2 to 8 turn nothing.
 */
import { isUtf8 } from 'node:buffer';
import { constants, crc32, inflateSync } from 'node:zlib';
import { messageOf, UserError } from '../errors.ts';
import { readExifOrientation } from './exif.ts';
import { jpegSegments } from './jpeg.ts';
import type { Picture, Sides } from '../image/picture.ts';

export type Format = 'PNG' | 'JPEG' | 'WebP';

/** What a file says about its picture, by Pillow's names; a string where Pillow has text, of Latin-1 characters. */
type Info = Map<string, Buffer | string>;

const RAW_EXIF = 'Raw profile type exif';
const XMP_TEXT = 'XML:com.adobe.xmp';
const KEYWORDS = new Set(['exif', 'xmp', RAW_EXIF, XMP_TEXT]);
const MAX_TEXT = 2 ** 20; // bytes of an unpacked text

/**
 * @returns 1 to 8, as EXIF numbers them; 1 is upright
 * @throws UserError where Pillow refuses the picture for what should say it, or a PNG for a checksum before its pixels
 */
export function readOrientation(bytes: Uint8Array, format: Format, name: string): number {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  try {
    const found = format === 'PNG' ? ofPng(file) : format === 'JPEG' ? ofJpeg(file) : ofWebp(file);
    return found !== undefined && found >= 2 && found <= 8 && Number.isInteger(found) ? found : 1;
  } catch (error) {
    throw new UserError(`${name} is damaged: ${messageOf(error)}`);
  }
}

/** The size of a picture once it is turned. */
export function turnSize({ width, height }: Sides, orientation: number): Sides {
  return orientation >= 5 ? { width: height, height: width } : { width, height };
}

/** The picture as it is to be seen. */
export function turnUpright(picture: Picture, orientation: number): Picture {
  if (orientation === 1) return picture;
  const { width, height, data } = picture;
  const swap = orientation >= 5; // x and y
  const flipX = [2, 3, 7, 8].includes(orientation);
  const flipY = [3, 4, 6, 7].includes(orientation);
  const turned = { ...turnSize(picture, orientation), data: new Uint8Array(data.length) };

  const alongX = flipX ? -3 : 3; // bytes from a pixel to the next one of the source
  const alongY = flipY ? -3 * width : 3 * width;
  const corner = (flipX ? 3 * (width - 1) : 0) + (flipY ? 3 * width * (height - 1) : 0);
  const [stepX, stepY] = swap ? [alongY, alongX] : [alongX, alongY];
  let to = 0;
  for (let y = 0; y < turned.height; y++) {
    let from = corner + y * stepY;
    for (let x = 0; x < turned.width; x++, from += stepX) {
      turned.data[to++] = data[from];
      turned.data[to++] = data[from + 1];
      turned.data[to++] = data[from + 2];
    }
  }
  return turned;
}

function ofInfo(info: Info): number | undefined {
  const exif = info.get('exif') ?? unpackRawProfile(info.get(RAW_EXIF));
  if (typeof exif === 'string') throw new Error('text stands for its EXIF');
  const orientation = exif && readExifOrientation(exif);
  if (orientation !== undefined) return orientation;

  const text = info.get(XMP_TEXT)?.toString('latin1');
  const xmp = info.get('xmp');
  if (!text && typeof xmp === 'string' && xmp !== '') throw new Error('text stands for its XMP');
  const match = /tiff:Orientation(?:="|>)([0-9])/.exec(text || (xmp?.toString('latin1') ?? ''));
  return match ? Number(match[1]) : undefined;
}

/** ImageMagick's profile: three lines, then bytes as hexadecimal digits. */
function unpackRawProfile(profile: Buffer | string | undefined): Buffer | undefined {
  if (profile === undefined) return undefined;
  const digits = profile.toString('latin1').split('\n').slice(3).join('');
  const runs = digits.split(/[\t\v\f\r ]+/);
  if (!runs.every((run) => run.length % 2 === 0 && /^[0-9a-f]*$/i.test(run))) {
    throw new Error(`its ${RAW_EXIF} is not hexadecimal`);
  }
  return Buffer.from(runs.join(''), 'hex');
}

/** A PNG's chunks up to its end, those of an animation up to the second frame. */
function ofPng(file: Buffer): number | undefined {
  const info: Info = new Map();
  let frames: number | undefined;
  let controlled = false; // the first frame has a control chunk
  let pixels = false; // are passed
  for (let at = 8; at + 8 <= file.length;) {
    const kind = file.toString('latin1', at + 4, at + 8);
    const end = at + 8 + file.readUInt32BE(at);
    if (kind === 'IEND' || (pixels && !/^\w{4}$/.test(kind))) break;
    // Pillow looks at the checksums before the pixels only.
    if (
      !pixels &&
      kind !== 'IDAT' &&
      (end + 4 > file.length || crc32(file.subarray(at + 4, end)) !== file.readUInt32BE(end))
    ) {
      throw new Error(`the checksum of its ${kind} chunk is wrong`);
    }
    if (end > file.length && kind !== 'IDAT') throw new Error(`its ${kind} chunk is cut off`);
    const body = file.subarray(at + 8, end);
    if (kind === 'IDAT') {
      if (!pixels && frames !== undefined && !controlled) frames++; // the pixels are none of the animation's
      pixels = true;
    } else if (kind === 'acTL' && !pixels && body.length >= 8) {
      frames = frames === undefined ? body.readUInt32BE(0) || undefined : undefined;
    } else if (kind === 'fcTL') {
      if (pixels && frames !== undefined && frames > 1) break;
      controlled ||= !pixels;
    } else if (
      kind === 'eXIf' ||
      (/^[tzi].Xt$/.test(kind) && KEYWORDS.has(cut(body)[0].toString('latin1')))
    ) {
      noteChunk(info, kind, body);
    }
    at = end + 4;
  }
  return ofInfo(info);
}

function noteChunk(info: Info, kind: string, body: Buffer): void {
  if (kind === 'eXIf') info.set('exif', body);
  const [keyword, rest = Buffer.alloc(0)] = cut(body);
  const key = keyword.toString('latin1');
  if (kind === 'tEXt') info.set(key, key === 'exif' ? rest : rest.toString('latin1'));
  if (kind === 'zTXt') {
    if (rest.length > 0 && rest[0] !== 0) throw new Error(`its ${key} is packed by an unknown method`);
    info.set(key, unpack(rest.subarray(1), key)?.toString('latin1') ?? '');
  }
  if (kind === 'iTXt' && rest.length >= 2) {
    const [language, translated] = cut(rest.subarray(2));
    if (!translated) return;
    const [translation, stored] = cut(translated);
    if (!stored || (rest[0] !== 0 && rest[1] !== 0)) return;
    const value = rest[0] === 0 ? stored : unpack(stored, key);
    if (!value) return;
    if (key === XMP_TEXT) info.set('xmp', value);
    if ([language, translation, value].every((part) => isUtf8(part))) info.set(key, value.toString('latin1'));
  }
}

/** What is before the first NUL and what after it. */
function cut(bytes: Buffer): [Buffer, Buffer?] {
  const at = bytes.indexOf(0);
  return at < 0 ? [bytes] : [bytes.subarray(0, at), bytes.subarray(at + 1)];
}

/** @returns undefined where the data are damaged; data that end early are not */
function unpack(packed: Buffer, key: string): Buffer | undefined {
  try {
    return inflateSync(packed, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: MAX_TEXT });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') return undefined;
    throw new Error(`its ${key} has more than ${MAX_TEXT} bytes`);
  }
}

/** A JPEG's segments before its first scan. */
function ofJpeg(file: Buffer): number | undefined {
  const info: Info = new Map();
  let resolution = false;
  for (const { marker, body } of jpegSegments(file)) {
    const start = body.toString('latin1', 0, 29);
    if (marker === 0xe0 && start.startsWith('JFIF')) {
      resolution ||= body.length >= 12 && [1, 2].includes(body[7]);
    } else if (marker === 0xe1 && start.startsWith('Exif\0\0')) {
      const exif = info.get('exif') as Buffer | undefined;
      info.set('exif', exif ? Buffer.concat([exif, body.subarray(6)]) : body);
    } else if (marker === 0xe1 && start === 'http://ns.adobe.com/xap/1.0/\0') {
      info.set('xmp', body.subarray(29));
    }
  }
  try {
    return ofInfo(info);
  } catch (error) {
    // Looking for a resolution, Pillow reads the EXIF early; what fails then is not read again, nor is XMP.
    if (!resolution) return undefined;
    throw error;
  }
}

/** The chunks that the header of an extended WebP announces; the first of each kind. */
function ofWebp(file: Buffer): number | undefined {
  const info: Info = new Map();
  if (file.toString('latin1', 12, 16) !== 'VP8X' || file.length < 30) return undefined;
  const flags = file[20];
  const riffEnd = Math.min(file.length, 8 + file.readUInt32LE(4));
  for (let at = 12; at + 8 <= riffEnd;) {
    const kind = file.toString('latin1', at, at + 4);
    const size = file.readUInt32LE(at + 4);
    const body = file.subarray(at + 8, at + 8 + size);
    const key = kind === 'EXIF' && flags & 8 ? 'exif' : kind === 'XMP ' && flags & 4 ? 'xmp' : undefined;
    if (key && body.length > 0 && !info.has(key)) info.set(key, body);
    at += 8 + size + (size % 2);
  }
  return ofInfo(info);
}
