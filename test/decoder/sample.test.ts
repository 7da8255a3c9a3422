import fc from 'fast-check';
import { expect, test } from 'vitest';
import { greedy, pickToken, samplingProbabilities, type Sampling } from '../../src/decoder/sample.ts';
import { createRandom } from '../../src/random.ts';
import * as twin from '../reference/sample.ts';
import { axis, randoms } from '../support/random.ts';

/** Logits on a grid of halves: equal ones are common. */
const logitRows = fc
  .record({ random: randoms, V: axis(12) })
  .map(({ random, V }) => Float32Array.from({ length: V }, () => Math.floor(17 * random()) / 2 - 4));
// p ends in a digit that no sum of these weights meets: a token on the very edge would hang on rounding.
const samplings: fc.Arbitrary<Sampling> = fc.record({
  temperature: fc.constantFrom(0.5, 1, 2),
  topK: fc.nat(13),
  topP: fc.constantFrom(0.1234567, 0.5234567, 0.8234567, 0.9734567, 1),
});

test('the probabilities equal their twin', () => {
  fc.assert(
    fc.property(logitRows, samplings, (logits, sampling) => {
      const expected = twin.samplingProbabilities([...logits], sampling);
      const actual = samplingProbabilities(logits, sampling);
      for (const [id, p] of expected.entries()) expect(Math.abs(actual[id] - p)).toBeLessThan(1e-12);
      expect(Math.abs(actual.reduce((sum, p) => sum + p, 0) - 1)).toBeLessThan(1e-12);
    }),
    { numRuns: 300 },
  );
});

test('top-k leaves the k largest, and those equal to the k-th', () => {
  fc.assert(
    fc.property(logitRows, fc.integer({ min: 1, max: 13 }), (logits, topK) => {
      const p = samplingProbabilities(logits, { temperature: 1, topK, topP: 1 });
      const smallest = [...logits].sort((a, b) => b - a)[Math.min(topK, logits.length) - 1];
      expect([...p].map((x) => x > 0)).toEqual([...logits].map((x) => x >= smallest));
    }),
  );
});

test('top-p leaves the fewest tokens that reach p, each in its old proportion to the others', () => {
  fc.assert(
    fc.property(logitRows, samplings, (logits, { temperature, topP }) => {
      fc.pre(topP < 1);
      const all = samplingProbabilities(logits, { temperature, topK: 0, topP: 1 });
      const some = samplingProbabilities(logits, { temperature, topK: 0, topP });
      const kept = [...some.keys()].filter((id) => some[id] > 0);
      const mass = kept.reduce((sum, id) => sum + all[id], 0);
      const smallest = Math.min(...kept.map((id) => all[id]));
      expect(mass).toBeGreaterThanOrEqual(topP);
      expect(mass - smallest).toBeLessThan(topP); // one fewer would not reach p
      for (const [id, p] of all.entries()) if (p > smallest) expect(some[id]).toBeGreaterThan(0);
      for (const id of kept) expect(Math.abs(some[id] - all[id] / mass)).toBeLessThan(1e-12);
    }),
    { numRuns: 300 },
  );
});

test('greedy takes the largest logit, the lower id on a tie, and draws nothing', () => {
  fc.assert(
    fc.property(logitRows, (logits) => {
      const noDraw = () => expect.fail('greedy drew a number');
      expect(pickToken(logits, greedy, noDraw)).toBe(logits.indexOf(Math.max(...logits)));
    }),
  );
});

// 1 itself is no draw; it stands for the crumb that rounding may leave of the probabilities' sum.
test('a token of probability 0 is never drawn, at either end of the unit interval', () => {
  fc.assert(
    fc.property(logitRows, samplings, fc.constantFrom(0, 0.5, 1 - 2 ** -32, 1), (logits, sampling, u) => {
      const p = samplingProbabilities(logits, sampling);
      expect(p[pickToken(logits, sampling, () => u)]).toBeGreaterThan(0);
    }),
    { numRuns: 200 },
  );
});

test('the draws are a function of the seed, lie in [0, 1) and differ from seed to seed', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const [a, b, other] = [createRandom(seed), createRandom(seed), createRandom(seed + 1)];
      const draws = Array.from({ length: 8 }, a);
      expect(Array.from({ length: 8 }, b)).toEqual(draws);
      expect(Array.from({ length: 8 }, other)).not.toEqual(draws);
      expect(draws.every((x) => x >= 0 && x < 1)).toBe(true);
    }),
  );
});

test('the draws follow the probabilities', () => {
  const logits = Float32Array.of(1, 0, -1, 2, 0.5, -3);
  for (const sampling of [
    { temperature: 1, topK: 0, topP: 1 },
    { temperature: 2, topK: 4, topP: 0.9 },
  ]) {
    const p = samplingProbabilities(logits, sampling);
    const random = createRandom(42);
    const n = 20_000;
    const counts = new Float64Array(p.length);
    for (let i = 0; i < n; i++) counts[pickToken(logits, sampling, random)]++;
    for (const [id, count] of counts.entries()) {
      const sigma = Math.sqrt((p[id] * (1 - p[id])) / n);
      expect(Math.abs(count / n - p[id])).toBeLessThanOrEqual(4 * sigma); // the seed is fixed: no luck involved
    }
  }
});

test('a NaN among the logits is refused by name', () => {
  const logits = Float32Array.of(1, NaN, 2);
  expect(() => pickToken(logits, greedy, () => 0)).toThrow('decoder.logits hold NaN');
  expect(() => pickToken(logits, { temperature: 1, topK: 0, topP: 1 }, () => 0)).toThrow(
    'decoder.logits hold NaN',
  );
});
