import { open, stat } from 'node:fs/promises';
import { messageOf, UserError } from '../errors.ts';
import { decodeLatin1, refusePointer } from '../bytes.ts';
import { readWhole, reasonOf, writeAtomically } from './files.ts';
import { readOrientation, turnSize, turnUpright, type Format } from './orientation.ts';
import { findStrayMarker, hasJunk } from './jpeg.ts';
import { checkPixels, type Picture, type Sides } from '../image/picture.ts';
import { checkSizes, type PreprocessConfig } from '../image/preprocess.ts';
import { loadSharp } from './sharp.ts';

export type { Picture } from '../image/picture.ts';

const SUPPORTED: Format[] = ['PNG', 'JPEG', 'WebP'];

// A file's first bytes say what it is. Only the supported kinds ever reach a decoder; the others are here
// to be named when they are refused.
const SIGNATURES: [format: string, start: RegExp][] = [
  ['PNG', /^\x89PNG\r\n\x1a\n/],
  ['JPEG', /^\xff\xd8\xff/],
  ['WebP', /^RIFF....WEBP/s],
  ['GIF', /^GIF8/],
  ['TIFF', /^(II\*\0|MM\0\*)/],
  ['BMP', /^BM/],
  ['AVIF', /^....ftypavi[fs]/s],
  ['HEIC', /^....ftyp(hei|hev|mif1)/s],
  ['SVG', /<svg\b/],
];

/**
 * Decode a picture file to RGB bytes.
 *
 * The rules are those of Pillow 12.3's `exif_transpose(Image.open(file)).convert("RGB")`, which LLaVA's users get:
 * the orientation is applied (orientation.ts); alpha and palette transparency are dropped, not composited;
 * grey becomes RGB; CMYK becomes RGB by Pillow's formula; an embedded ICC profile is ignored; an animation gives its
 * first frame. 16-bit samples keep their high byte. (Pillow does so for 16-bit RGB, but clips 16-bit *grey* at 255,
 * which turns nearly every such picture white; that one is not followed.)
 *
 * A JPEG whose data libjpeg finds damaged is refused, also where Pillow shows what is left of it. It does not find all
 * damage: a baseline JPEG has no checksum, and other bytes may be another picture.
 *
 * @param config - what {@link preprocess} will do with the picture: one that this would make too large is then
 *   refused from its header
 * @param page - which frame of an animation, from 0
 * @throws UserError naming the file: missing, a folder, empty, not PNG, JPEG or WebP, damaged or truncated,
 *   or of more than 100 million pixels
 */
export async function decodeImage(file: string, config?: PreprocessConfig, page?: number): Promise<Picture> {
  return decodeImageBytes(await readImage(file), file, config, page);
}

/** How many frames a picture file has: more than one in an animated WebP. */
export async function countFrames(file: string): Promise<number> {
  const bytes = await readImage(file);
  if (readFormat(bytes, file) !== 'WebP') return 1;
  const sharp = await loadSharp();
  const header = await sharp(bytes)
    .metadata()
    .catch(() => undefined); // what is damaged is refused when it is decoded
  return header?.pages ?? 1;
}

async function readImage(file: string): Promise<Uint8Array> {
  try {
    return await readWhole(file);
  } catch (error) {
    throw new UserError(`cannot read the image ${file}: ${reasonOf(error)}`);
  }
}

/**
 * Looks at the first bytes of a picture file, before the work that it is for.
 * @throws UserError as {@link decodeImage} does for what is missing, no regular file, empty or of another kind
 */
export async function checkImage(file: string): Promise<void> {
  const start = Buffer.alloc(1024);
  let length: number;
  try {
    if (!(await stat(file)).isFile()) throw new Error('it is not a regular file'); // opening a pipe would wait
    const handle = await open(file);
    try {
      length = (await handle.read(start)).bytesRead;
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw new UserError(`cannot read the image ${file}: ${reasonOf(error)}`);
  }
  readFormat(start.subarray(0, length), file);
}

/**
 * {@link decodeImage} of a file's bytes that are already in memory.
 *
 * @param name - what the error messages call the picture
 * @param page - which frame of an animation
 */
export async function decodeImageBytes(
  bytes: Uint8Array,
  name: string,
  config?: PreprocessConfig,
  page = 0,
): Promise<Picture> {
  const format = readFormat(bytes, name);
  const sharp = await loadSharp();
  const damaged = (error: unknown): never => {
    throw new UserError(
      `${name} cannot be decoded, it is damaged or truncated (${messageOf(error).split('\n')[0]})`,
    );
  };
  const input = { ignoreIcc: true, limitInputPixels: false, page } as const;
  const header = await sharp(bytes, input).metadata().catch(damaged);
  checkPixels(name, header.width, header.height);
  const orientation = readOrientation(bytes, format, name);
  if (config) checkSizes(name, turnSize(header, orientation), config);
  if (format === 'PNG') checkLength(bytes, name, header);

  const decode = async (failOn: 'warning' | 'error'): Promise<Picture> => {
    const image = sharp(bytes, { ...input, failOn });
    // CMYK is taken as it is; of all else sharp makes 8-bit RGB, also of grey and of 16 bits.
    const cmyk = header.space === 'cmyk';
    const channels = cmyk ? image.pipelineColourspace('cmyk').toColourspace('cmyk') : image.removeAlpha();
    const { data, info } = await channels.raw().toBuffer({ resolveWithObject: true });
    const pixels = new Uint8Array(data.buffer, data.byteOffset, data.length);
    return { width: info.width, height: info.height, data: cmyk ? cmykToRgb(pixels) : pixels };
  };
  // libjpeg warns where the data are damaged; libpng, of profiles that are ignored here.
  const decoded = await decode(format === 'JPEG' ? 'warning' : 'error')
    .catch((error: unknown) => {
      if (format !== 'JPEG' || !isHarmless(messageOf(error), bytes)) throw error;
      return decode('error');
    })
    .catch(damaged);
  const stray = format === 'JPEG' ? findStrayMarker(bytes) : undefined;
  if (stray !== undefined) damaged(`marker 0x${stray.toString(16)} among its pixels`);
  return turnUpright(decoded, orientation);
}

/** Deflate packs at most 1032 bytes into one: refuse a PNG that is shorter than its pixels, before they get memory. */
function checkLength(png: Uint8Array, name: string, { width, height }: Sides): void {
  const [depth, colour] = png.subarray(24, 26); // of IHDR
  const samples = [1, 0, 3, 1, 2, 0, 4][colour] ?? 0;
  if (png.length * 1032 < (height * width * samples * depth) / 8) {
    throw new UserError(`${name} is truncated: ${png.length} bytes cannot hold ${width} × ${height} pixels`);
  }
}

/** What libjpeg warns of and decodes rightly nevertheless. Of several warnings it tells the first. */
function isHarmless(warning: string, jpeg: Uint8Array): boolean {
  if (/extraneous bytes before marker/.test(warning)) return hasJunk(jpeg); // else they were pixels
  return /Invalid SOS parameters|unknown JFIF revision|Unknown Adobe color transform/.test(warning);
}

/**
 * Write a picture as an 8-bit RGB PNG. The file appears whole or not at all.
 *
 * @throws UserError if the file cannot be written
 */
export async function encodePng(picture: Picture, file: string): Promise<void> {
  const png = await encodePngBytes(picture);
  await writeAtomically(file, (handle) => handle.writeFile(png));
}

/** A PNG file's bytes. */
export async function encodePngBytes({ width, height, data }: Picture): Promise<Buffer> {
  const sharp = await loadSharp();
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

function readFormat(bytes: Uint8Array, name: string): Format {
  if (bytes.length === 0) throw new UserError(`${name} is empty (0 bytes), not an image`);
  const start = decodeLatin1(bytes.subarray(0, 1024));
  refusePointer(bytes, name);
  const format = SIGNATURES.find(([, signature]) => signature.test(start))?.[0];
  const supported = SUPPORTED.find((one) => one === format);
  if (supported) return supported;
  const what = format === undefined ? 'is not an image this program knows' : `is a ${format} file`;
  throw new UserError(`${name} ${what}: it reads PNG, JPEG and WebP`);
}

/** Pillow's conversion, without colour management: R = K' - C·K'/255 rounded, where K' = 255 - K. */
function cmykToRgb(cmyk: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((cmyk.length / 4) * 3);
  for (let pixel = 0; pixel < cmyk.length / 4; pixel++) {
    const light = 255 - cmyk[pixel * 4 + 3];
    for (let c = 0; c < 3; c++) {
      rgb[pixel * 3 + c] = light - Math.round((cmyk[pixel * 4 + c] * light) / 255);
    }
  }
  return rgb;
}
