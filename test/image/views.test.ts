/** Which views a picture has, and which of their patches are read. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { shareOut } from '../../src/compress/views.ts';
import { UserError } from '../../src/errors.ts';
import { chooseResolution, countPatches, layOutViews, parsePinpoints } from '../../src/image/views.ts';

const side = fc.integer({ min: 1, max: 3000 });
const pinpoints = parsePinpoints(undefined, 336, 'test');
const published = { S: 336, G: 24 };

describe('views', () => {
  test('every place is a patch of one view, in raster order within the crops’ grid', () => {
    fc.assert(
      fc.property(side, side, (width, height) => {
        fc.pre(Math.max(width, height) / Math.min(width, height) < 300);
        const views = layOutViews({ width, height }, pinpoints, published.S, published.G);
        const places = views.views.flatMap((view) => view.places);
        expect([...places].sort((a, b) => a - b)).toEqual([...places.keys()]);
        expect(places.length).toBe(countPatches(views));
        // A crop's patches stand in the grid as they stand in the crop.
        const { grid: G, columns: C } = views;
        for (const { patches, places } of views.views.slice(1)) {
          for (let i = 1; i < patches.length; i++) {
            const rows = Math.floor(patches[i] / G) - Math.floor(patches[i - 1] / G);
            const across = (patches[i] % G) - (patches[i - 1] % G);
            expect(places[i] - places[i - 1]).toBe(rows * C + across);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  // As transformers' `unpad_image` on a grid of 2 × 2 crops of 24 × 24 patches, by hand.
  test.each([
    [{ width: 1000, height: 1000 }, 48, 48],
    [{ width: 1000, height: 600 }, 28, 48], // 48·600/1000 = 28.8 → 28 rows: 10 of padding above and below
    [{ width: 600, height: 1000 }, 48, 28],
  ])('%j leaves %i rows of %i patches', (size, rows, columns) => {
    const views = layOutViews(size, [{ width: 672, height: 672 }], published.S, published.G);
    expect([views.rows, views.columns]).toEqual([rows, columns]);
  });

  test.each([
    [
      { width: 336, height: 336 },
      { width: 672, height: 336 },
    ], // nothing is lost in any: the least is wasted
    [
      { width: 1344, height: 672 },
      { width: 672, height: 336 },
    ],
    [
      { width: 500, height: 3000 },
      { width: 336, height: 1008 },
    ],
    [
      { width: 900, height: 900 },
      { width: 672, height: 672 },
    ],
  ])('%j is seen in %j', (size, resolution) => {
    expect(chooseResolution(size, pinpoints)).toEqual(resolution);
  });

  test('what cannot be seen, or cut up, is refused with its numbers', () => {
    expect(() => chooseResolution({ width: 1, height: 5000 }, pinpoints)).toThrow(
      new UserError(
        'a picture of 1 × 5000 pixels is too thin: less than a pixel of it is left in each of the checkpoint’s resolutions'.replace(
          '’',
          "'",
        ),
      ),
    );
    expect(() => parsePinpoints([[336, 500]], 336, 'FILE')).toThrow(
      /^FILE: image_grid_pinpoints\[0\] is \[336,500\], should be \[height, width\] in multiples of 336/,
    );
    expect(() => parsePinpoints('336x672', 336, 'FILE')).toThrow(UserError);
  });
});

test('a budget is shared out whole, within the rooms, and by weight', () => {
  const rooms = fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(
      rooms,
      fc.integer({ min: 0, max: 200 }),
      fc.infiniteStream(fc.double({ min: 0.01, max: 1, noNaN: true })),
      (rooms, total, stream) => {
        const weights = rooms.map(() => stream.next().value as number);
        const shares = shareOut(total, weights, rooms);
        const all = rooms.reduce((a, b) => a + b, 0);
        expect(shares.reduce((a, b) => a + b, 0)).toBe(Math.min(total, all));
        shares.forEach((share, v) => expect(share).toBeLessThanOrEqual(rooms[v]));
        const equal = shareOut(
          total,
          rooms.map(() => 1),
          rooms.map(() => 1000),
        );
        expect(Math.max(...equal) - Math.min(...equal)).toBeLessThanOrEqual(1);
      },
    ),
    { numRuns: 100 },
  );
  expect(shareOut(8, [3, 1], [10, 10])).toEqual([6, 2]);
});
