import fc from 'fast-check';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Picture } from '../../src/image/picture.ts';

/** The folder that test/golden/make_preprocess.py writes. */
export const goldenFolder = join(import.meta.dirname, '../golden/preprocess');

/** A picture as the golden files hold it. */
export interface StoredPicture {
  width: number;
  height: number;
  rgb: string; // base64
}

export async function readGolden<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(join(goldenFolder, name), 'utf8')) as T;
}

export function fromBase64(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'));
}

export function toPicture({ width, height, rgb }: StoredPicture): Picture {
  return { width, height, data: fromBase64(rgb) };
}

/** Noise of up to `maxSide` pixels a side. */
export function arbitraryPicture(maxSide: number): fc.Arbitrary<Picture> {
  const side = fc.integer({ min: 1, max: maxSide });
  return fc
    .tuple(side, side)
    .chain(([width, height]) =>
      fc
        .uint8Array({ minLength: width * height * 3, maxLength: width * height * 3 })
        .map((data) => ({ width, height, data })),
    );
}

/** A new folder that is gone when the test is over. */
export async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'vtc-cls-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Largest difference between two equally long arrays. */
export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let max = 0;
  for (let i = 0; i < a.length; i++) max = Math.max(max, Math.abs(a[i] - b[i]));
  return max;
}
