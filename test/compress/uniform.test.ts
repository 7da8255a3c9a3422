import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { uniform } from '../../src/compress/uniform.ts';
import { checkSelection } from '../../src/testing/selection.ts';
import { assertNone } from '../../src/testing/violation.ts';
import { describeEachBackend } from '../support/backends.ts';
import { runMethod, seenOf } from '../support/methods.ts';
import { axis, draw, expectNewTensors, randoms, tidyEachTest } from '../support/random.ts';

type Pattern = typeof uniform.defaults.pattern;
const pattern = fc.constantFrom<Pattern>('raster', 'grid');
const cases = fc
  .record({ values: randoms, B: axis(2), G: axis(7), n: fc.nat() })
  .map(({ values, B, G, n }) => ({ patches: draw(values, [B, G * G, 2]), G, U: 1 + (n % (G * G)) }));

async function choose(patches: number[][][], U: number, pattern: Pattern) {
  const seen = seenOf(tf.tensor3d(patches));
  const { tokens, kept } = await runMethod(uniform, seen, U, { options: { pattern } });
  return { tokens: tokens.arraySync(), kept: kept! };
}

/** Of a picture with P patches. */
const placesOf = async (U: number, P: number, pattern: Pattern) =>
  (await choose([Array.from({ length: P }, () => [0])], U, pattern)).kept[0];

const gaps = (places: number[]) => places.slice(1).map((place, i) => place - places[i]);

describeEachBackend('uniform', () => {
  tidyEachTest();

  test('keeps exactly U patches, ascending, the same of every picture, and their features', async () => {
    await fc.assert(
      fc.asyncProperty(cases, pattern, async ({ patches, G, U }, pattern) => {
        const { tokens, kept } = await choose(patches, U, pattern);
        assertNone(checkSelection({ kept: kept[0], budget: U, patches: G * G }));
        for (const [b, row] of kept.entries()) {
          expect(row).toEqual(kept[0]);
          expect(tokens[b]).toEqual(row.map((p) => patches[b][p]));
        }
      }),
      { numRuns: 60 },
    );
  });

  test('strides differ by one at most: along the raster, down the rows, along each row', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ G, U }) => {
        const even = (strides: number[]) =>
          expect(Math.max(0, ...strides) - Math.min(Infinity, ...strides)).toBeLessThanOrEqual(1);
        even(gaps(await placesOf(U, G * G, 'raster')));
        const grid = await placesOf(U, G * G, 'grid');
        const used = [...new Set(grid.map((place) => Math.floor(place / G)))];
        const rows = used.map((row) => grid.filter((place) => Math.floor(place / G) === row));
        even(gaps(used));
        even(rows.map((row) => row.length));
        for (const row of rows) even(gaps(row));
      }),
      { numRuns: 100 },
    );
  });

  test('known answers', async () => {
    expect(await placesOf(4, 16, 'raster')).toEqual([2, 6, 10, 14]); // one column: the stride is a row
    expect(await placesOf(4, 16, 'grid')).toEqual([5, 7, 13, 15]);
    expect(await placesOf(5, 16, 'grid')).toEqual([5, 7, 12, 14, 15]);
    for (const only of [await placesOf(1, 25, 'raster'), await placesOf(1, 25, 'grid')])
      expect(only).toEqual([12]);
    expect(await placesOf(25, 25, 'grid')).toEqual([...Array(25).keys()]);
  });

  test('a run leaves its results and nothing else', async () => {
    const seen = seenOf(tf.zeros([2, 9, 3]));
    await expectNewTensors(1, 'uniform', () => runMethod(uniform, seen, 4));
  });
});
