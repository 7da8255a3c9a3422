/** Each invariant of a merge holds for a right one, and finds a planted wrong one. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { meanOf } from '../../src/tensor/token-matrix.ts';
import { mergeLaw, type Merging } from '../../src/testing/laws.ts';
import { checkMerge, entriesOf, mergeWhys, type Merge } from '../../src/testing/merge.ts';

const good: Merge = {
  patches: 4,
  weights: [[0.5, 0.5, 0, 0], { 2: 1 }, new Map([[3, 1]])],
  means: true,
  partition: true,
  features: [[0, 2], [4, 2], [1, 1], [3, 5]], // prettier-ignore
  tokens: [[2, 2], [1, 1], [3, 5]], // prettier-ignore
};

test('of a right merge nothing is wrong, dense or sparse', () => {
  expect(checkMerge(good)).toEqual([]);
  expect(entriesOf([0, 0.5, 0, 0.5])).toEqual([[1, 0.5], [3, 0.5]]); // prettier-ignore
  expect(checkMerge({ ...good, weights: [[0.2, 0.2, 0, 0], [0, 0, 3, 0], { 3: 1, 2: 0.1 }], means: false, partition: false, tokens: undefined })).toEqual([]); // prettier-ignore
});

test.each<[keyof typeof mergeWhys, string, Partial<Merge>]>([
  ['range', 'row 0 names patch 4, but they are 0 to 3', { weights: [{ 0: 0.5, 4: 0.5 }] }],
  ['finite', 'row 1 gives patch 2 the weight NaN', { weights: [[1, 0, 0, 0], [0, 0, NaN, 0]], means: false }], // prettier-ignore
  ['finite', 'row 0 gives patch 1 the weight Infinity', { weights: [{ 1: Infinity }], means: false }],
  ['non-negative', 'row 0 gives patch 1 the weight -0.5', { weights: [[1.5, -0.5, 0, 0]] }],
  ['not-empty', 'row 1 has no patch', { weights: [[1, 0, 0, 0], [0, 0, 0, 0]], means: false }], // prettier-ignore
  ['sum', 'row 0 sums to 2', { weights: [[1, 1, 0, 0]] }],
  ['partition', 'patch 1 is part of rows 0 and 1', { weights: [{ 0: 0.5, 1: 0.5 }, { 1: 1 }] }],
  ['product', 'token 1 is 2 in channel 0, W·F is 1', { ...good, tokens: [[2, 2], [2, 1], [3, 5]] }], // prettier-ignore
  ['product', 'there are 1 tokens, but W has 3 rows', { ...good, tokens: [[2, 2]] }],
  ['product', 'token 2 is NaN in channel 1, W·F is 5', { ...good, tokens: [[2, 2], [1, 1], [3, NaN]] }], // prettier-ignore
])('%s: %s', (property, message, wrong) => {
  expect(checkMerge({ ...good, features: undefined, tokens: undefined, ...wrong })).toEqual([
    { property, message, why: mergeWhys[property] },
  ]);
});

test('float32’s rounding is no fault, a tenth is, and how much is one can be said', () => {
  const off = (by: number, tolerance?: number) =>
    checkMerge({ ...good, tokens: [[2 + by, 2], [1, 1], [3, 5]], tolerance }).length; // prettier-ignore
  expect([off(1e-6), off(0.1), off(0.1, 0.05)]).toEqual([0, 1, 0]);
});

/** Runs of neighbours, each their mean. */
function pool(F: number[][], U: number): Required<Merging> {
  const weights = Array.from({ length: U }, (_, u) => {
    const [from, to] = [u, u + 1].map((end) => Math.floor((end * F.length) / U));
    return meanOf(Array.from({ length: to - from }, (_, i) => from + i));
  });
  const tokens = weights.map((row) => F[0].map((_, d) => [...row].reduce((x, [p, w]) => x + w * F[p][d], 0)));
  return { weights, tokens };
}

test('the law holds for pooling and finds what is not W·F, no mean, shared, or too few', async () => {
  const claims = { means: true, partition: true };
  await fc.assert(mergeLaw(pool, claims));
  const wrong: ((F: number[][], U: number) => Merging)[] = [
    (F, U) => ({ ...pool(F, U), tokens: F.slice(0, U) }),
    (F, U) => ({ weights: pool(F, U).weights.map(() => new Map([[0, 0.5]])) }),
    (F, U) => ({ weights: Array.from({ length: U }, () => meanOf([...F.keys()])) }),
    (F, U) => ({ weights: pool(F, U).weights.slice(1) }),
  ];
  for (const merge of wrong) expect((await fc.check(mergeLaw(merge, claims))).failed).toBe(true);
});
