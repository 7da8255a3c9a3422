import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { decodeImage, decodeImageBytes, encodePng } from '../../src/image/decode.ts';
import { crc32 } from '../support/crc32.ts';
import {
  arbitraryPicture,
  goldenFolder,
  makeFolder,
  maxDifference,
  readGolden,
  toPicture,
  type StoredPicture,
} from '../support/pictures.ts';

const folder = join(goldenFolder, 'decode');
const readBytes = (name: string) => new Uint8Array(readFileSync(join(folder, name)));

/** The message of the UserError that `action` ends with. */
async function refusalOf(action: Promise<unknown>): Promise<string> {
  const error: unknown = await action.then(
    () => new Error('no error'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UserError);
  return (error as UserError).message;
}

describe("equals Pillow's convert('RGB')", async () => {
  const expected = Object.entries(await readGolden<Record<string, StoredPicture>>('decode.json'));

  // Lossy decoders may differ in the last bit. With sharp 0.35.5 and Pillow 12.3 on x86-64 they do not: the
  // difference measured is 0 for every file.
  test.each(expected)('%s', async (name, stored) => {
    const want = toPicture(stored);
    const got = await decodeImage(join(folder, name));
    expect([got.width, got.height]).toEqual([want.width, want.height]);
    const lossy = /\.jpg|lossy/.test(name);
    expect(maxDifference(got.data, want.data)).toBeLessThanOrEqual(lossy ? 1 : 0);
    const differing = got.data.filter((byte, i) => byte !== want.data[i]).length;
    expect(differing / want.data.length).toBeLessThan(0.05);
  });
});

describe('refuses', () => {
  test('a missing file', async () => {
    expect(await refusalOf(decodeImage('nowhere/cat.png'))).toBe(
      'cannot read the image nowhere/cat.png: there is no such file or folder',
    );
  });

  test('a folder', async () => {
    expect(await refusalOf(decodeImage(folder))).toBe(`cannot read the image ${folder}: it is a folder`);
  });

  test('an empty file', async () => {
    const file = join(await makeFolder(), 'empty.jpg');
    await writeFile(file, '');
    expect(await refusalOf(decodeImage(file))).toBe(`${file} is empty (0 bytes), not an image`);
  });

  test('what is not an image, whatever its name says', async () => {
    const text = new TextEncoder().encode('not a picture');
    expect(await refusalOf(decodeImageBytes(text, 'cat.png'))).toBe(
      'cat.png is not an image this program knows: it reads PNG, JPEG and WebP',
    );
  });

  const square = sharp({ create: { width: 16, height: 16, channels: 3, background: 'red' } });
  const svg = '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>';
  test.each([
    ['GIF', () => square.clone().gif().toBuffer()],
    ['TIFF', () => square.clone().tiff().toBuffer()],
    ['AVIF', () => square.clone().avif({ effort: 0 }).toBuffer()],
    ['SVG', () => Buffer.from(svg)],
    ['BMP', () => Buffer.from('BM                 ')],
  ])('%s, by name', async (format, make) => {
    expect(await refusalOf(decodeImageBytes(await make(), 'cat.png'))).toBe(
      `cat.png is a ${format} file: it reads PNG, JPEG and WebP`,
    );
  });

  // The last chunk of a PNG is its end mark of 12 bytes; all pixels are there without it.
  test.each([
    ['rgb.png', 13],
    ['rgb.jpg', 1],
    ['progressive.jpg', 1],
    ['lossless.webp', 1],
    ['lossy.webp', 1],
    ['animated.webp', 1],
  ])('%s without its last %i bytes or more', async (name, fewest) => {
    const whole = readBytes(name);
    for (const missing of [fewest, 40, whole.length >> 1, whole.length - 30, whole.length - 16]) {
      const cut = whole.subarray(0, whole.length - missing);
      expect(await refusalOf(decodeImageBytes(cut, name)), `${missing} bytes short`).toMatch(
        new RegExp(`^${name} cannot be decoded, it is damaged or truncated \\(.+\\)$`),
      );
    }
  });

  test('a PNG with a damaged byte among its pixels', async () => {
    const bytes = readBytes('rgb.png');
    bytes[bytes.length >> 1] ^= 0x55;
    expect(await refusalOf(decodeImageBytes(bytes, 'cat.png'))).toMatch(/^cat\.png cannot be decoded/);
  });

  test('a few bytes that claim an enormous picture', async () => {
    const bomb = readBytes('rgb.png');
    const header = new DataView(bomb.buffer, bomb.byteOffset);
    header.setUint32(16, 60000); // width
    header.setUint32(20, 60000); // height
    header.setUint32(29, crc32(bomb.subarray(12, 29)));
    expect(await refusalOf(decodeImageBytes(bomb, 'bomb.png'))).toBe(
      'bomb.png has 60000 × 60000 = 3600000000 pixels, more than the limit of 100000000',
    );
  });
});

describe('encodePng', () => {
  test('what is written is read back', async () => {
    const file = join(await makeFolder(), 'out.png');
    await fc.assert(
      fc.asyncProperty(arbitraryPicture(12), async (picture) => {
        await encodePng(picture, file); // over the one before
        expect(await decodeImage(file)).toEqual(picture);
      }),
      { numRuns: 25 },
    );
  });

  test('leaves nothing beside the file', async () => {
    const parent = await makeFolder();
    await encodePng({ width: 1, height: 1, data: new Uint8Array(3) }, join(parent, 'out.png'));
    expect(await readdir(parent)).toEqual(['out.png']);
  });

  test('refuses a folder that does not exist', async () => {
    const file = join(await makeFolder(), 'missing', 'out.png');
    const picture = { width: 1, height: 1, data: new Uint8Array(3) };
    expect(await refusalOf(encodePng(picture, file))).toBe(
      `cannot write ${file}: there is no folder ${dirname(file)}`,
    );
  });

  test('refuses to replace a folder, and takes its temporary file away', async () => {
    const parent = await makeFolder();
    const file = join(parent, 'out.png');
    await mkdir(file);
    const picture = { width: 1, height: 1, data: new Uint8Array(3) };
    expect(await refusalOf(encodePng(picture, file))).toBe(`cannot write ${file}: it is a folder`);
    expect(await readdir(parent)).toEqual(['out.png']);
  });
});
