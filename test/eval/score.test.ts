import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isRight, withInterval, withSeeds } from '../../src/eval/task/score.ts';

test('an answer is right whatever its case and the space around it, and only then', () => {
  expect(isRight(' Red\n', 'red')).toBe(true);
  expect(isRight('upper-left', 'Upper-Left')).toBe(true);
  for (const wrong of ['', 'reds', 'red .', 'a red']) expect(isRight(wrong, 'red'), wrong).toBe(false);
});

test("Wilson's intervals as tables print them", () => {
  const known = [
    [0.5, 10, 0.2366, 0.7634],
    [0, 10, 0, 0.2775],
    [1, 10, 0.7225, 1],
    [0.1, 50, 0.0435, 0.2136],
  ];
  for (const [accuracy, n, low, high] of known) {
    const found = withInterval(accuracy, n);
    expect(found.low).toBeCloseTo(low, 4);
    expect(found.high).toBeCloseTo(high, 4);
  }
});

test('at either end of the interval the share observed is z standard errors away', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5000 }), fc.double({ min: 0, max: 1, noNaN: true }), (n, share) => {
      const accuracy = Math.round(share * n) / n;
      const { low, high } = withInterval(accuracy, n);
      for (const end of [low, high]) {
        if (end < 1e-12 || end > 1 - 1e-12) continue; // cut off at 0 and 1
        expect(Math.abs(accuracy - end) / Math.sqrt((end * (1 - end)) / n)).toBeCloseTo(1.96, 6);
      }
      expect(low).toBeLessThanOrEqual(accuracy + 1e-12);
      expect(high).toBeGreaterThanOrEqual(accuracy - 1e-12);
    }),
  );
});

test('the interval over questions and seeds, by hand', () => {
  // Ten questions; 4 and 6 right, the six being the four and two more.
  const marks = [4, 6].map((right) => Array.from({ length: 10 }, (_, i) => Number(i < right)));
  // var(question means) = (8 · 0.25)/10; var(seed means) = 0.02; the rest: (4 · 0.16 + 16 · 0.01)/10
  const error = 0.2 / 10 + 0.02 / 2 - 0.08 / 20;
  const { low, high } = withInterval(0.5, 0.25 / error);
  const found = withSeeds(marks);
  expect(found).toMatchObject({ n: 10, accuracy: 0.5 });
  expect(found.low).toBeCloseTo(low, 12);
  expect(found.high).toBeCloseTo(high, 12);
});

test('seeds that agree are as one, and however they differ the interval is never narrower than of the questions', () => {
  const row = fc.array(fc.constantFrom(0, 0.3, 1), { minLength: 12, maxLength: 12 });
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 4 }), (marks) => {
      const one = withInterval(withSeeds(marks).accuracy, 12);
      const found = withSeeds(marks);
      expect(found.low).toBeLessThanOrEqual(one.low + 1e-9);
      expect(found.high).toBeGreaterThanOrEqual(one.high - 1e-9);
      const binary = marks[0].map(Math.round);
      const same = withSeeds([binary, binary, binary]);
      const single = withSeeds([binary]);
      expect(same.low).toBeCloseTo(single.low, 9);
      expect(same.high).toBeCloseTo(single.high, 9);
    }),
  );
});

test('seeds that differ as wholes widen it', () => {
  const marks = [0.2, 0.8].map((share) => Array.from({ length: 100 }, (_, i) => Number(i % 10 < 10 * share)));
  const { low, high } = withSeeds(marks);
  expect(high - low).toBeGreaterThan(2 * (withInterval(0.5, 100).high - withInterval(0.5, 100).low));
});
