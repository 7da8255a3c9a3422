import fc from 'fast-check';
import { expect, test } from 'vitest';
import { clusterByDensity } from '../../src/compress/density-peaks.ts';
import { densityPeaks } from '../reference/decoder-methods.ts';
import { axis, draw, randoms } from '../support/random.ts';

const cases = fc
  .record({ random: randoms, n: axis(12), E: axis(3), m: fc.nat() })
  .map(({ random, n, E, m }) => ({ x: draw(random, [n, E]), c: 1 + (m % n) }));

const squares = (x: number[][]) =>
  Float64Array.from(
    x.flatMap((a) => x.map((b) => a.reduce((sum, v, e) => sum + (v - b[e]) ** 2, 0) / a.length)),
  );

test('the clusters are the twin’s', () => {
  fc.assert(
    fc.property(cases, ({ x, c }) => {
      let clear = true;
      const expected = densityPeaks(x, c, (scores, U) => {
        const sorted = [...scores].sort((a, b) => b - a);
        if (U < sorted.length) clear &&= sorted[U - 1] - sorted[U] > 1e-9;
      });
      fc.pre(clear);
      expect(clusterByDensity(squares(x), c, c)).toEqual(expected.sort(([i], [j]) => i - j));
    }),
  );
});

test('every token is in one of c clusters, whose centre is first and the nearest of all centres', () => {
  fc.assert(
    fc.property(cases, ({ x, c }) => {
      const clusters = clusterByDensity(squares(x), 5, c);
      expect(clusters).toHaveLength(c);
      expect(clusters.flat().sort((i, j) => i - j)).toEqual([...x.keys()]);
      const away = (i: number, j: number) => Math.hypot(...x[i].map((v, e) => v - x[j][e]));
      for (const [centre, ...others] of clusters) {
        for (const i of others) {
          for (const [other] of clusters) expect(away(i, centre)).toBeLessThanOrEqual(away(i, other) + 1e-12);
        }
      }
    }),
  );
});

test('two heaps are two clusters', () => {
  const heap = (at: number) => [0, 0.1, 0.3].map((x) => [at + x, at]);
  const clusters = clusterByDensity(squares([...heap(0), ...heap(9)]), 2, 2);
  expect(clusters.map((row) => [...row].sort())).toEqual(expect.arrayContaining([[0, 1, 2], [3, 4, 5]])); // prettier-ignore
});

test('where exp(−d²) is 0 for all, the densest are still the centres', () => {
  const heaps = [0, 100, 250, 5000, 5100, 5130].map((x) => [x, 0]);
  const centres = clusterByDensity(squares(heaps), 3, 2).map(([centre]) => centre);
  expect(centres).toEqual([4, 5]); // log γ = −12079 −5409 −14162 −4479 −1808 −2964
});

test('a token as near to one centre as to another goes to the earlier', () => {
  expect(clusterByDensity(squares([[0], [0], [2], [2], [1]]), 2, 2)).toEqual([[0, 1, 4], [2, 3]]); // prettier-ignore
});
