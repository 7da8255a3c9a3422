import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isRight, withInterval } from '../../src/eval/task/score.ts';

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
