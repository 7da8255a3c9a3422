import sharp from 'sharp';
import { messageOf, UserError } from '../errors.ts';
import { readWhole, reasonOf, writeAtomically } from '../files.ts';
import { checkPixels, type Picture } from './picture.ts';

export type { Picture } from './picture.ts';

const SUPPORTED = ['PNG', 'JPEG', 'WebP'];

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
 * The rules are those of Pillow's `exif_transpose(Image.open(file)).convert("RGB")`, which LLaVA's users get:
 * the EXIF orientation is applied; alpha and palette transparency are dropped, not composited; grey becomes
 * RGB; CMYK becomes RGB by Pillow's formula; an embedded ICC profile is ignored; an animation gives its first
 * frame. 16-bit samples keep their high byte. (Pillow does so for 16-bit RGB, but clips 16-bit *grey* at 255,
 * which turns nearly every such picture white; that one is not followed.)
 *
 * @throws UserError naming the file: missing, a folder, empty, not PNG, JPEG or WebP, damaged or truncated,
 *   or of more than 100 million pixels
 */
export async function decodeImage(file: string): Promise<Picture> {
  let bytes: Uint8Array;
  try {
    bytes = await readWhole(file);
  } catch (error) {
    throw new UserError(`cannot read the image ${file}: ${reasonOf(error)}`);
  }
  return decodeImageBytes(bytes, file);
}

/**
 * {@link decodeImage} of a file's bytes that are already in memory.
 *
 * @param name - what the error messages call the picture
 */
export async function decodeImageBytes(bytes: Uint8Array, name: string): Promise<Picture> {
  checkFormat(bytes, name);
  try {
    const input = { failOn: 'error', ignoreIcc: true, limitInputPixels: false } as const;
    const header = await sharp(bytes, input).metadata();
    checkPixels(name, header.width, header.height);

    const cmyk = header.space === 'cmyk';
    const upright = sharp(bytes, input).autoOrient();
    // CMYK is taken as it is; of all else sharp makes 8-bit RGB, also of grey and of 16 bits.
    const channels = cmyk ? upright.pipelineColourspace('cmyk').toColourspace('cmyk') : upright.removeAlpha();
    const { data, info } = await channels.raw().toBuffer({ resolveWithObject: true });

    const pixels = new Uint8Array(data.buffer, data.byteOffset, data.length);
    return { width: info.width, height: info.height, data: cmyk ? cmykToRgb(pixels) : pixels };
  } catch (error) {
    if (error instanceof UserError) throw error;
    const reason = messageOf(error).split('\n')[0];
    throw new UserError(`${name} cannot be decoded, it is damaged or truncated (${reason})`);
  }
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
export function encodePngBytes({ width, height, data }: Picture): Promise<Buffer> {
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

function checkFormat(bytes: Uint8Array, name: string): void {
  if (bytes.length === 0) throw new UserError(`${name} is empty (0 bytes), not an image`);
  const start = Buffer.from(bytes.subarray(0, 1024)).toString('latin1');
  const format = SIGNATURES.find(([, signature]) => signature.test(start))?.[0];
  if (format === undefined || !SUPPORTED.includes(format)) {
    const what = format === undefined ? 'is not an image this program knows' : `is a ${format} file`;
    throw new UserError(`${name} ${what}: it reads PNG, JPEG and WebP`);
  }
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
