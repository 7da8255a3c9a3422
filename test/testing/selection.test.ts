/** Each invariant of a selection holds for a right one, and finds a planted wrong one. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { keepTopK } from '../../src/compress/top-k.ts';
import { attentionCases, budgets, softmaxRow } from '../../src/testing/arbitraries.ts';
import { checkSelection, scoreOf, selectionWhys, type Selection } from '../../src/testing/selection.ts';
import { selectionLaws, sumIsMean, type Select } from '../../src/testing/selection-laws.ts';
import { assertNone } from '../../src/testing/violation.ts';

/** Plain VTC-CLS: top-U of a score of each picture. */
const selectBy =
  (score: (layers: number[][][]) => number[]): Select =>
  (attention, U) =>
    keepTopK(
      attention[0].map((_, b) => Float32Array.from(score(attention.map((layer) => layer[b])))),
      U,
    );
const right = selectBy(scoreOf);
const sum = (x: readonly number[]) => x.reduce((a, b) => a + b, 0);

test('of a right selection nothing is wrong', () => {
  fc.assert(
    fc.property(attentionCases, ({ attention, U, P }) => {
      const layers = attention.map(([heads]) => heads);
      const scores = scoreOf(layers);
      const [kept] = keepTopK([Float32Array.from(scores)], U);
      for (const ranks of [{ scores }, { attention: layers }, { patches: P }]) {
        expect(checkSelection({ kept, budget: U, ...ranks })).toEqual([]);
      }
    }),
  );
});

const scores = [0.1, 0.4, 0.4, 0.2];
test.each<[keyof typeof selectionWhys, string, Partial<Selection>]>([
  ['count', 'kept 1 patch, should be 2', { kept: [1] }],
  ['count', 'kept 3 patches, should be 2', { kept: [1, 2, 3] }],
  ['range', 'kept patch 4, but they are 0 to 3', { kept: [1, 4], scores: undefined, patches: 4 }],
  ['range', 'kept patch -1, but they are 0 to 3', { kept: [-1, 1], scores: undefined, patches: 4 }],
  ['distinct', 'kept patch 1 twice', { kept: [1, 1], scores: undefined, patches: 4 }],
  ['ascending', 'kept patch 2 before 1: raster order is ascending', { kept: [2, 1] }],
  ['finite', 'patch 3 scores NaN', { scores: [0.1, 0.4, 0.4, NaN] }],
  ['best', 'dropped patch 2 scores 0.4, kept patch 3 0.2', { kept: [1, 3] }],
  ['ties', 'patches 1 and 2 both score 0.4, and 2 was kept', { kept: [2], budget: 1 }],
  ['best', 'dropped patch 0 scores 0.75, kept patch 1 0.25', { kept: [1], budget: 1, scores: undefined, attention: [[0.5, 0.5], [1, 0]] }], // prettier-ignore
  ['best', 'dropped patch 0 scores 1.5, kept patch 1 0.5', { kept: [1], budget: 1, scores: undefined, attention: [[[0.5, 0.5]], [[1, 0]]] }], // prettier-ignore
])('%s: %s', (property, message, wrong) => {
  expect(checkSelection({ kept: [1, 2], budget: 2, scores, ...wrong })).toEqual([
    { property, message, why: selectionWhys[property] },
  ]);
});

test('what says nothing of P is no selection', () => {
  expect(() => checkSelection({ kept: [0], budget: 1 })).toThrow('needs patches, scores or attention');
  expect(() => assertNone(checkSelection({ kept: [1, 0], budget: 2, patches: 2 }))).toThrow(
    /^ascending: kept/,
  );
});

const holds = async (law: (typeof selectionLaws)[number], select: Select) =>
  !(await fc.check(law.property(select), { numRuns: 200 })).failed;

/** For each law a selection that breaks it. */
const broken: Record<string, Select> = {
  'top-u': selectBy((layers) => scoreOf(layers).map((x) => -x)),
  'scale': selectBy((layers) => scoreOf(layers).map((x, p) => (x > 1 ? 0 : x) + p * 1e-9)),
  'heads': selectBy((layers) => layers[0][0]),
  'one-hot': selectBy((layers) => scoreOf(layers).map((x) => -x)),
  'constant-layer': selectBy((layers) => layers[0][0].map((_, p) => layers.reduce((product, heads) => product * (scoreOf(heads)[p] - 0.01), 1))), // prettier-ignore
  'one-layer': selectBy((layers) => scoreOf(layers.slice(1).length ? layers : layers.map((heads) => heads.slice(0, 1)))), // prettier-ignore
  'batch': (attention, U) => attention[0].map(() => (right(attention, U) as number[][])[0]),
  'all': (attention, U) => (right(attention, U) as number[][]).map((row) => row.slice(0, Math.max(1, U - 1))),
};

describe.each(selectionLaws)('$name', (law) => {
  test('holds for the selection it is of', async () => {
    expect(await holds(law, right)).toBe(true);
  });

  test('finds a wrong one', async () => {
    expect(await holds(law, broken[law.name])).toBe(false);
  });
});

test('sum and mean rank alike; sum and maximum do not', async () => {
  const mean = selectBy((layers) => scoreOf(layers).map((x) => Math.fround(x) / layers.length));
  const largest = selectBy((layers) => layers[0][0].map((_, p) => Math.max(...layers.map((heads) => scoreOf(heads)[p])))); // prettier-ignore
  await fc.assert(sumIsMean.property({ sum: right, mean }));
  const { failed } = await fc.check(sumIsMean.property({ sum: right, mean: largest }), { numRuns: 200 });
  expect(failed).toBe(true);
});

test('what is drawn is attention: positive, of the sum 1; and both ends of the budget come', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 30 }).chain(softmaxRow), (row) => {
      expect(sum(row)).toBeCloseTo(1, 9);
      expect(Math.min(...row)).toBeGreaterThan(0);
    }),
  );
  fc.assert(
    fc.property(attentionCases, ({ attention, K, B, H, P, U }) => {
      expect([attention.length, attention[0].length, attention[0][0].length]).toEqual([K, B, H]);
      for (const row of attention.flat(2)) {
        expect(row).toHaveLength(P);
        expect(sum(row)).toBeLessThanOrEqual(1);
        expect(row.every((x) => Math.fround(x) === x && x >= 0)).toBe(true);
      }
      expect(U >= 1 && U <= P).toBe(true);
    }),
  );
  const drawn = fc.sample(budgets(9), { numRuns: 200, seed: 1 });
  expect(drawn).toEqual(expect.arrayContaining([1, 9]));
});
