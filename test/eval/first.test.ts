/** What a model would say first, against the same in plain arithmetic. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chooseAmong, divergence, likeliest, logSoftmax } from '../../src/eval/run/first.ts';

const logits = (V: number) =>
  fc.array(fc.double({ min: -30, max: 30, noNaN: true }), { minLength: V, maxLength: V });
const softmax = (x: readonly number[]) => {
  const powers = x.map((value) => Math.exp(value - Math.max(...x)));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
};
/** All terms of the sum, in float64. */
const klTwin = (p: number[], q: number[]) =>
  p.reduce((sum, share, t) => (share > 0 ? sum + share * Math.log(share / q[t]) : sum), 0);
const logsOf = (x: readonly number[]) => logSoftmax(Float32Array.from(x));
const rounded = (x: readonly number[]) => [...Float32Array.from(x)];

test('log softmax and KL of a small vocabulary are exact', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 20 }).chain((V) => fc.tuple(logits(V), logits(V))),
      ([a, b]) => {
        const [p, q] = [softmax(rounded(a)), softmax(rounded(b))];
        logsOf(a).forEach((log, t) => expect(Math.exp(log)).toBeCloseTo(p[t], 9));
        const found = divergence(likeliest(logsOf(a)), logsOf(b));
        const expected = klTwin(p, q);
        expect(Math.abs(found - expected)).toBeLessThan(1e-4 * (1 + expected)); // logs are kept in six decimals
        expect(divergence(likeliest(logsOf(a)), logsOf(a))).toBeLessThan(1e-5);
      },
    ),
  );
});

test('of a large vocabulary the tail is one term: never more than KL, and near it where the tail is light', () => {
  fc.assert(
    fc.property(fc.tuple(logits(300), logits(300)), ([a, b]) => {
      const found = divergence(likeliest(logsOf(a)), logsOf(b));
      const expected = klTwin(softmax(rounded(a)), softmax(rounded(b)));
      expect(found).toBeGreaterThanOrEqual(0);
      expect(found).toBeLessThan(expected + 1e-4 * (1 + expected));
    }),
    { numRuns: 50 },
  );
  const peaked = Array.from({ length: 300 }, (_, t) => -t);
  const other = Array.from({ length: 300 }, (_, t) => -0.7 * t);
  const near = divergence(likeliest(logsOf(peaked)), logsOf(other));
  expect(near).toBeCloseTo(klTwin(softmax(peaked), softmax(other)), 4);
});

test('the choice is the likeliest of those there are, by all tokens that begin it', () => {
  const logs = Float64Array.from([0.5, 0.2, 0.15, 0.1, 0.05], Math.log);
  expect(chooseAmong([[1], [3]], logs)).toBe(0);
  expect(chooseAmong([[1], [2, 3]], logs)).toBe(1);
  expect(chooseAmong([[1], [1, 2]], logs)).toBeUndefined(); // both may begin with 1
  expect(chooseAmong([], logs)).toBeUndefined();
});
