import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Picture } from '../../src/image/picture.ts';
import { resizeBicubic } from '../../src/image/resize.ts';
import { at, mapPixels, resizeBicubicNaive, transpose } from '../reference/bicubic.ts';
import {
  arbitraryPicture,
  maxDifference,
  readGolden,
  toPicture,
  type StoredPicture,
} from '../support/pictures.ts';

const side = fc.integer({ min: 1, max: 24 });
const picture = arbitraryPicture(24);
const flip = (p: Picture) => mapPixels(p.width, p.height, (x, y, c) => at(p, p.width - 1 - x, y, c));

test('equals Pillow byte for byte', async () => {
  const cases = await readGolden<{ input: StoredPicture; results: StoredPicture[] }[]>('resize.json');
  for (const { input, results } of cases) {
    for (const expected of results.map(toPicture)) {
      const resized = resizeBicubic(toPicture(input), expected.width, expected.height);
      expect(resized, `${input.width}×${input.height} to ${expected.width}×${expected.height}`).toEqual(
        expected,
      );
    }
  }
});

describe('properties', () => {
  test('one axis is within one grey level of the float64 definition', () => {
    // One axis, because the byte between the two passes may carry a difference on. Both orders of axes.
    fc.assert(
      fc.property(picture, side, (p, size) => {
        const wide = resizeBicubic(p, size, p.height);
        expect(maxDifference(wide.data, resizeBicubicNaive(p, size, p.height).data)).toBeLessThanOrEqual(1);
        const high = resizeBicubic(p, p.width, size);
        expect(maxDifference(high.data, resizeBicubicNaive(p, p.width, size).data)).toBeLessThanOrEqual(1);
      }),
    );
  });

  test('both axes are the x axis, then the y axis', () => {
    fc.assert(
      fc.property(picture, side, side, (p, width, height) => {
        const stepwise = resizeBicubic(resizeBicubic(p, width, p.height), width, height);
        expect(resizeBicubic(p, width, height)).toEqual(stepwise);
      }),
    );
  });

  test('y is treated as x is', () => {
    fc.assert(
      fc.property(picture, side, (p, size) => {
        const turned = transpose(resizeBicubic(transpose(p), size, p.width));
        expect(resizeBicubic(p, p.width, size)).toEqual(turned);
      }),
    );
  });

  test('a picture of one colour keeps it', () => {
    const colour = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255));
    fc.assert(
      fc.property(colour, side, side, side, side, (rgb, width, height, newWidth, newHeight) => {
        const plain = (w: number, h: number) => mapPixels(w, h, (_x, _y, c) => rgb[c]);
        expect(resizeBicubic(plain(width, height), newWidth, newHeight)).toEqual(plain(newWidth, newHeight));
      }),
    );
  });

  test('the same size gives the same pixels, in memory of their own', () => {
    fc.assert(
      fc.property(picture, (p) => {
        const same = resizeBicubic(p, p.width, p.height);
        expect(same).toEqual(p);
        expect(same.data.buffer).not.toBe(p.data.buffer);
      }),
    );
  });

  test('flipping before or after is the same, to one grey level', () => {
    fc.assert(
      fc.property(picture, side, (p, width) => {
        const before = resizeBicubic(flip(p), width, p.height);
        const after = flip(resizeBicubic(p, width, p.height));
        expect(maxDifference(before.data, after.data)).toBeLessThanOrEqual(1);
      }),
    );
  });

  test('the input is left as it was', () => {
    fc.assert(
      fc.property(picture, side, side, (p, width, height) => {
        const copy = p.data.slice();
        resizeBicubic(p, width, height);
        expect(p.data).toEqual(copy);
      }),
    );
  });
});

test.each([
  [0, 5],
  [5, 0],
  [NaN, 5],
])('a size of %d × %d is a bug', (width, height) => {
  const p = mapPixels(2, 2, () => 7);
  expect(() => resizeBicubic(p, width, height)).toThrow(RangeError);
});
