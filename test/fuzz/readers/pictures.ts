/**
 * PNG, JPEG and WebP files of every kind in `test/golden/`: bits, bytes, runs and lengths changed, parts cut out, doubled
 * or taken from another file, sizes in the header, EXIF and XMP. A PNG's checksums are mended mostly, so that
 * what was changed is looked at.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { decodeImageBytes } from '../../../src/node/decode.ts';
import { clipPreprocess, preprocess } from '../../../src/image/preprocess.ts';
import type { Random } from '../../../src/random.ts';
import { crc32 } from '../../support/crc32.ts';
import type { Fuzz } from '../fuzz.ts';

type Mutation = (bytes: Buffer, random: Random, other: Buffer) => Buffer;

const upTo = (random: Random, end: number) => Math.floor(random() * end);
const pick = <T>(random: Random, list: readonly T[]): T => list[upTo(random, list.length)];
const numbers = [0, 1, 2, 6, 255, 256, 65535, 100_000, 2 ** 24, 2 ** 27, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];

const mutations: Record<string, Mutation> = {
  'bit': (bytes, random) => {
    bytes[upTo(random, bytes.length)] ^= 1 << upTo(random, 8);
    return bytes;
  },
  'byte': (bytes, random) => {
    bytes[upTo(random, bytes.length)] = pick(random, [0, 0xff, 0xd8, 0xda, upTo(random, 256)]);
    return bytes;
  },
  'run': (bytes, random) => {
    const at = upTo(random, bytes.length);
    bytes.subarray(at, at + upTo(random, 40)).fill(upTo(random, 256));
    return bytes;
  },
  'number': (bytes, random) => {
    const at = upTo(random, Math.max(1, bytes.length - 4));
    if (bytes.length < at + 4) return bytes;
    const value = pick(random, numbers);
    if (random() < 0.5) bytes.writeUInt32BE(value, at);
    else bytes.writeUInt32LE(value, at);
    return bytes;
  },
  'cut': (bytes, random) => bytes.subarray(0, upTo(random, bytes.length)),
  'part left out': (bytes, random) => {
    const at = upTo(random, bytes.length);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + upTo(random, 60))]);
  },
  'part doubled': (bytes, random) => {
    const at = upTo(random, bytes.length);
    return Buffer.concat([bytes.subarray(0, at + upTo(random, 60)), bytes.subarray(at)]);
  },
  'another file’s part': (bytes, random, other) => {
    const from = upTo(random, other.length);
    const at = upTo(random, bytes.length);
    const part = other.subarray(from, from + upTo(random, 200));
    return Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at)]);
  },
  // PNG: in IHDR; JPEG: behind the frame's mark; WebP: of the canvas
  'size': (bytes, random) => {
    const frame = bytes.indexOf(Buffer.from([0xff, 0xc0]));
    const at = pick(random, [16, 20, 24, 27, frame < 0 ? 16 : frame + 5]);
    if (bytes.length < at + 4) return bytes;
    if (at >= 24) bytes.writeUInt16BE(pick(random, [0, 1, 300, 2000, 65535]), at);
    else bytes.writeUInt32BE(pick(random, [...numbers, 300, 2000]), at);
    return bytes;
  },
};

/** Checksums of a PNG's chunks as they should be, as far as the chunks go. */
function mendChecksums(png: Buffer): void {
  for (let at = 8; at + 12 <= png.length;) {
    const end = at + 8 + png.readUInt32BE(at);
    if (end + 4 > png.length) return;
    png.writeUInt32BE(crc32(png.subarray(at + 4, end)), end);
    at = end + 4;
  }
}

export const pictures: Fuzz = {
  prepare() {
    const golden = path.join(import.meta.dirname, '../../golden/pictures.json');
    const cases = JSON.parse(readFileSync(golden, 'utf8')) as Record<string, { file: string }>;
    const files = Object.entries(cases).map(
      ([name, { file }]) => [name, Buffer.from(file, 'base64')] as const,
    );

    return Promise.resolve((random: Random) => {
      const [name, original] = pick(random, files);
      const [, other] = pick(random, files);
      const how = Array.from({ length: pick(random, [1, 1, 1, 2, 3]) }, () =>
        pick(random, Object.keys(mutations)),
      );
      const bytes = how.reduce<Buffer>(
        (file, mutation) => (file.length === 0 ? file : mutations[mutation](file, random, other)),
        Buffer.from(original),
      );
      if (random() < 0.8 && bytes.toString('latin1', 1, 4) === 'PNG') mendChecksums(bytes);
      const config = clipPreprocess(pick(random, [1, 16, 24]), random() < 0.1);
      const run = async () => preprocess(await decodeImageBytes(bytes, 'a picture', config), config);
      return Promise.resolve({ what: `${name}: ${how.join(', ')}`, run });
    });
  },
};
