import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Picture } from '../../src/image/picture.ts';
import { clipPreprocess, preprocess } from '../../src/image/preprocess.ts';
import { paste } from '../../src/image/picture.ts';
import { blank, enlarge } from '../../src/report/canvas.ts';
import { drawSheet, heatColour } from '../../src/report/heatmap.ts';
import { showPixels } from '../../src/image/show.ts';
import { drawLabel } from '../../src/report/labels.ts';
import { arbitraryPicture, maxDifference } from '../support/pictures.ts';

const pixel = ({ width, data }: Picture, x: number, y: number) => [
  ...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3),
];
const plain = (side: number, rgb: number[]): Picture => ({
  width: side,
  height: side,
  data: Uint8Array.from({ length: side * side * 3 }, (_, i) => rgb[i % 3]),
});

describe('the colour scale', () => {
  test('grows brighter all the way, and ends where it should', () => {
    const light = (t: number) => heatColour(t).reduce((sum, c, i) => sum + c * [0.3, 0.59, 0.11][i], 0);
    for (let i = 0; i < 100; i++) expect(light((i + 1) / 100)).toBeGreaterThan(light(i / 100));
    expect(heatColour(-1)).toEqual(heatColour(0));
    expect(heatColour(2)).toEqual(heatColour(1));
  });
});

describe('the picture that the model saw', () => {
  test('comes back from its normalised pixels', () => {
    const side = 8;
    const length = side * side * 3;
    fc.assert(
      fc.property(fc.uint8Array({ minLength: length, maxLength: length }), (data) => {
        const config = clipPreprocess(side, false);
        const pixels = preprocess({ width: side, height: side, data }, config);
        const shown = showPixels(pixels, side, config);
        expect([shown.width, shown.height]).toEqual([side, side]);
        expect(maxDifference(shown.data, data)).toBe(0);
      }),
    );
  });
});

describe('the sheet', () => {
  const [gap, title] = [12, 28];

  test('lays panels out in rows, each picture enlarged by a whole factor to 224 pixels or more', async () => {
    const panels = Array.from({ length: 5 }, (_, i) => ({ title: `panel ${i}` }));
    const sheet = await drawSheet(plain(100, [10, 20, 30]), { grid: 10, patch: 10 }, panels, 3);
    const side = 300;
    expect([sheet.width, sheet.height]).toEqual([3 * (side + gap) + gap, 2 * (side + title + gap) + gap]);
    for (const [i] of panels.entries()) {
      const x = gap + (i % 3) * (side + gap);
      const y = gap + Math.floor(i / 3) * (side + title + gap) + title;
      expect(pixel(sheet, x, y)).toEqual([10, 20, 30]);
      expect(pixel(sheet, x + side - 1, y + side - 1)).toEqual([10, 20, 30]);
      expect(pixel(sheet, x - 1, y)).toEqual([255, 255, 255]);
    }
    const large = await drawSheet(plain(224, [0, 0, 0]), { grid: 14, patch: 16 }, panels.slice(0, 1));
    expect(large.width).toBe(224 + 2 * gap);
  });

  test('lays each value over its own patch, and dims what was not kept and what no patch covers', async () => {
    // 10 pixels, patches of 3: one row and one column of pixels lie beyond the grid of 3 × 3.
    const picture = plain(10, [100, 150, 200]);
    const values = [0, 1, 2, 3, 4, 5, 6, 7, 8];
    const panels = [
      { title: 'heat', values },
      { title: 'kept', kept: [0, 5] },
    ];
    const sheet = await drawSheet(picture, { grid: 3, patch: 3 }, panels);
    const factor = 23; // of 10 pixels, to reach 224
    const at = (panel: number, x: number, y: number) =>
      pixel(sheet, gap + panel * (230 + gap) + x * factor, gap + title + y * factor);
    const dim = Math.floor(0.2 * (0.3 * 100 + 0.59 * 150 + 0.11 * 200));
    for (let y = 0; y < 10; y++) {
      for (let x = 0; x < 10; x++) {
        const inside = x < 9 && y < 9;
        const patch = Math.floor(y / 3) * 3 + Math.floor(x / 3);
        const heat = heatColour(patch / 8).map((c, i) => Math.floor(0.35 * [100, 150, 200][i] + 0.65 * c));
        const original = [100, 150, 200];
        expect(maxDifference(at(0, x, y), inside ? heat : original), `heat ${x} ${y}`).toBeLessThanOrEqual(1);
        const kept = inside && [0, 5].includes(patch);
        expect(at(1, x, y), `kept ${x} ${y}`).toEqual(kept ? original : [dim, dim, dim]);
      }
    }
  });

  test('a sign lies across the middle, and notes under the picture make every square taller', async () => {
    const panels = [
      { title: 'a', kept: [], sign: '36 new tokens' },
      { title: 'b', notes: ['yes', 'p 0.9'] },
    ];
    const sheet = await drawSheet(plain(224, [90, 90, 90]), { grid: 14, patch: 16 }, panels);
    expect(sheet.height).toBe(title + 224 + 2 * 22 + 2 * gap);
    const darkest = (x: number, y: number, width: number, height: number) => {
      const rows = Array.from({ length: height }, (_, i) =>
        Array.from({ length: width }, (_, j) => [x + j, y + i]),
      );
      return Math.min(...rows.flat().map(([x, y]) => pixel(sheet, x, y)[0]));
    };
    const middle = gap + title + 112;
    expect(pixel(sheet, gap, middle)).toEqual([255, 255, 255]);
    expect(darkest(gap, middle - 15, 224, 30)).toBeLessThan(128);
    expect(pixel(sheet, gap, middle - 16)).toEqual([18, 18, 18]);
    expect(pixel(sheet, gap, middle + 15)).toEqual([18, 18, 18]);
    const under = gap + title + 224;
    expect(darkest(gap, under, 224, 44)).toBe(255);
    for (const line of [0, 22]) expect(darkest(gap + 224 + gap, under + line, 224, 22)).toBeLessThan(128);
  });

  test('values that are all equal are drawn in the lowest colour', async () => {
    const panels = [{ title: 'flat', values: [5, 5, 5, 5] }];
    const sheet = await drawSheet(plain(4, [0, 0, 0]), { grid: 2, patch: 2 }, panels);
    const lowest = heatColour(0).map((c) => Math.floor(0.65 * c));
    expect(pixel(sheet, gap, gap + title)).toEqual(lowest);
  });
});

describe('pieces', () => {
  test('enlarging repeats each pixel, pasting moves a picture', () => {
    fc.assert(
      fc.property(arbitraryPicture(5), fc.integer({ min: 1, max: 4 }), (picture, factor) => {
        const large = enlarge(picture, factor);
        const canvas = blank(large.width + 3, large.height + 2);
        paste(large, canvas, 2, 1);
        expect(pixel(canvas, 1, 1)).toEqual([255, 255, 255]);
        for (let y = 0; y < large.height; y++) {
          for (let x = 0; x < large.width; x++) {
            const source = pixel(picture, Math.floor(x / factor), Math.floor(y / factor));
            expect(pixel(canvas, x + 2, y + 1)).toEqual(source);
          }
        }
      }),
      { numRuns: 20 },
    );
  });

  test('a label is of the size asked for, says something, and takes any text', async () => {
    for (const text of ['kept: 36 of 144', '[CLS] <attention> & more', 'a very long title '.repeat(20)]) {
      const label = await drawLabel(text, 200, 28);
      expect([label.width, label.height, label.data.length]).toEqual([200, 28, 200 * 28 * 3]);
      expect(Math.min(...label.data), text).toBeLessThan(text.length > 100 ? 250 : 128); // small letters are faint
      expect(pixel(label, 0, 0)).toEqual([255, 255, 255]);
    }
    const [a, b] = await Promise.all([drawLabel('layer 2', 200, 28), drawLabel('layer 3', 200, 28)]);
    expect(a.data).not.toEqual(b.data);
  });
});
