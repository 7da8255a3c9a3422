import fc from 'fast-check';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { decodeImage, decodeImageBytes, encodePng } from '../../src/node/decode.ts';
import { clipPreprocess } from '../../src/image/preprocess.ts';
import { crc32 } from '../support/crc32.ts';
import {
  arbitraryPicture,
  fromBase64,
  goldenFolder,
  makeFolder,
  maxDifference,
  readGolden,
  toPicture,
  type StoredPicture,
} from '../support/pictures.ts';
import { refusal } from '../support/refusal.ts';

const folder = join(goldenFolder, 'decode');
const readBytes = (name: string) => new Uint8Array(readFileSync(join(folder, name)));

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

describe("equals Pillow's verdict, orientation and kinds of pixels", () => {
  interface Verdict {
    file: string; // base64
    picture: StoredPicture | null;
  }
  const golden = new URL('../golden/pictures.json', import.meta.url);
  const cases = Object.entries(JSON.parse(readFileSync(golden, 'utf8')) as Record<string, Verdict>);

  test.each(cases)('%s', async (name, { file, picture }) => {
    const decoded = decodeImageBytes(fromBase64(file), name);
    if (picture) expect(await decoded).toEqual(toPicture(picture));
    else expect(await refusal(decoded)).toContain(`${name} `);
  });
});

describe('refuses', () => {
  test('a missing file', async () => {
    expect(await refusal(decodeImage('nowhere/cat.png'))).toBe(
      'cannot read the image nowhere/cat.png: there is no such file or folder',
    );
  });

  test('a folder', async () => {
    expect(await refusal(decodeImage(folder))).toBe(`cannot read the image ${folder}: it is a folder`);
  });

  test('an empty file', async () => {
    const file = join(await makeFolder(), 'empty.jpg');
    await writeFile(file, '');
    expect(await refusal(decodeImage(file))).toBe(`${file} is empty (0 bytes), not an image`);
  });

  test('what is not an image, whatever its name says', async () => {
    const text = new TextEncoder().encode('not a picture');
    expect(await refusal(decodeImageBytes(text, 'cat.png'))).toBe(
      'cat.png is not an image this program knows: it reads PNG, JPEG and WebP',
    );
  });

  test('a pointer of git-lfs', async () => {
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 9\n`;
    expect(await refusal(decodeImageBytes(Buffer.from(pointer), 'cat.png'))).toBe(
      'cat.png is a git-lfs pointer, not the file itself: run git lfs pull in its repository',
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
    expect(await refusal(decodeImageBytes(await make(), 'cat.png'))).toBe(
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
      expect(await refusal(decodeImageBytes(cut, name)), `${missing} bytes short`).toMatch(
        new RegExp(`^${name} cannot be decoded, it is damaged or truncated \\(.+\\)$`),
      );
    }
  });

  test('a PNG with a damaged byte among its pixels', async () => {
    const bytes = readBytes('rgb.png');
    bytes[bytes.length >> 1] ^= 0x55;
    expect(await refusal(decodeImageBytes(bytes, 'cat.png'))).toMatch(/^cat\.png cannot be decoded/);
  });

  test('a few bytes that claim an enormous picture', async () => {
    const bomb = readBytes('rgb.png');
    const header = new DataView(bomb.buffer, bomb.byteOffset);
    header.setUint32(16, 60000); // width
    header.setUint32(20, 60000); // height
    header.setUint32(29, crc32(bomb.subarray(12, 29)));
    expect(await refusal(decodeImageBytes(bomb, 'bomb.png'))).toBe(
      'bomb.png has 60000 × 60000 = 3600000000 pixels, more than the limit of 100000000',
    );
  });
});

/** A PNG's first bytes, with EXIF; its pixels are not there. */
function pngHeader(width: number, height: number, orientation: number): Uint8Array {
  const chunk = (kind: string, body: Buffer) => {
    const whole = Buffer.concat([Buffer.alloc(4), Buffer.from(kind), body, Buffer.alloc(4)]);
    whole.writeUInt32BE(body.length);
    whole.writeUInt32BE(crc32(whole.subarray(4, -4)), 8 + body.length);
    return whole;
  };
  const header = Buffer.from('0000000000000000' + '0802000000', 'hex');
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  const exif = Buffer.from('4d4d002a00000008' + '0001' + '0112000300000001' + '00000000' + '00000000', 'hex');
  exif.writeUInt16BE(orientation, 18);
  const start = Buffer.from('89504e470d0a1a0a', 'hex');
  return Buffer.concat([start, chunk('IHDR', header), chunk('eXIf', exif), chunk('IDAT', Buffer.alloc(9))]);
}

describe('refuses from the header what preprocessing would make too large', () => {
  const squash = { ...clipPreprocess(16), resize: { width: 10 ** 8, height: 1 }, crop: null };
  test.each([
    [1, 10 ** 8, 1, clipPreprocess(336), '1 × 100000000 pixels, resized, has 336 × 33600000000 = '],
    [10 ** 8, 1, 1, clipPreprocess(336), '100000000 × 1 pixels, resized, has 33600000000 × 336 = '],
    [10 ** 8, 1, 1, clipPreprocess(336, true), '100000000 × 1 pixels, padded to a square, has 100000000 × '],
    [100_000, 1000, 6, squash, '1000 × 100000 pixels, resized along one axis, has 100000000 × 100000 = '],
  ])('%i × %i, orientation %i', async (width, height, orientation, config, words) => {
    const action = decodeImageBytes(pngHeader(width, height, orientation), 'a.png', config);
    expect(await refusal(action)).toContain(`a.png of ${words}`);
  });

  test('a PNG that is too short for its pixels', async () => {
    expect(await refusal(decodeImageBytes(pngHeader(8000, 9000, 1), 'a.png'))).toBe(
      'a.png is truncated: 92 bytes cannot hold 8000 × 9000 pixels',
    );
  });

  test('and only that', async () => {
    const picture = await decodeImage(join(folder, 'rgb.png'), clipPreprocess(336));
    expect([picture.width, picture.height]).toEqual([22, 14]);
  });
});

describe('JPEGs damaged in mid-stream', () => {
  // Pillow shows what is left of them.
  test.each([
    ['progressive.jpg', 799, 5, '6 extraneous bytes before marker 0xd9'],
    ['progressive.jpg', 821, 5, 'premature end of data segment'],
    ['grey.jpg', 332, 1, 'premature end of data segment'],
  ])('%s without the bytes at %i, %i of them', async (name, at, missing, warning) => {
    const whole = readBytes(name);
    const cut = Buffer.concat([whole.subarray(0, at), whole.subarray(at + missing)]);
    expect(await refusal(decodeImageBytes(cut, name))).toBe(
      `${name} cannot be decoded, it is damaged or truncated (VipsJpeg: Corrupt JPEG data: ${warning})`,
    );
  });

  test('a marker among the pixels, which the decoder does not come to', async () => {
    const whole = readBytes('rgb.jpg');
    const bytes = Buffer.concat([whole.subarray(0, -2), Buffer.from([0xff, 0x64]), whole.subarray(-2)]);
    expect(await refusal(decodeImageBytes(bytes, 'cat.jpg'))).toBe(
      'cat.jpg cannot be decoded, it is damaged or truncated (marker 0x64 among its pixels)',
    );
  });

  const shared = join(import.meta.dirname, '../../../shared/cases/jpeg');
  const absent = !existsSync(shared);
  if (absent) console.warn('skipped: the cases of JPEGs are not beside this checkout');
  test.skipIf(absent)('those that people met', async () => {
    for (const file of await readdir(shared)) {
      expect(await refusal(decodeImage(join(shared, file)))).toMatch(/it is damaged or truncated/);
    }
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
    expect(await refusal(encodePng(picture, file))).toBe(
      `cannot write ${file}: there is no folder ${join(file, '..')}`,
    );
  });

  test('refuses to replace a folder, and takes its temporary file away', async () => {
    const parent = await makeFolder();
    const file = join(parent, 'out.png');
    await mkdir(file);
    const picture = { width: 1, height: 1, data: new Uint8Array(3) };
    expect(await refusal(encodePng(picture, file))).toBe(`cannot write ${file}: it is a folder`);
    expect(await readdir(parent)).toEqual(['out.png']);
  });
});
