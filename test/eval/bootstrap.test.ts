/** Intervals over pictures: against a bootstrap written out naively, and in what must hold for any marks. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createBootstrap, meanOfRuns } from '../../src/eval/task/bootstrap.ts';
import { withInterval } from '../../src/eval/task/score.ts';
import { createRandom } from '../../src/random.ts';

const marked = fc.integer({ min: 2, max: 12 }).chain((N) =>
  fc.array(
    fc.record({
      picture: fc.nat(N - 1),
      mark: fc.option(fc.constantFrom(0, 0.3, 1), { nil: undefined, freq: 5 }),
    }),
    { minLength: 2, maxLength: 30 },
  ),
);

test('it is the naive one: pictures drawn with replacement, all their questions with them', () => {
  fc.assert(
    fc.property(marked, (questions) => {
      const counted = questions.filter(({ mark }) => mark !== undefined);
      fc.pre(counted.length > 0);
      const pictures = questions.map(({ picture }) => picture);
      const found = createBootstrap(pictures, 200, 7).mean(questions.map(({ mark }) => mark));
      const N = Math.max(...pictures) + 1;
      const random = createRandom(7);
      const means: number[] = [];
      for (let draw = 0; draw < 200; draw++) {
        const drawn = Array.from({ length: N }, () => Math.floor(random() * N));
        const marks = drawn.flatMap((p) =>
          counted.filter(({ picture }) => picture === p).map(({ mark }) => mark!),
        );
        if (marks.length > 0) means.push(marks.reduce<number>((a, b) => a + b, 0) / marks.length);
      }
      means.sort((a, b) => a - b);
      const at = (share: number) => means[Math.round(share * (means.length - 1))];
      expect(found.n).toBe(counted.length);
      expect(found.mean).toBeCloseTo(counted.reduce((sum, { mark }) => sum + mark!, 0) / counted.length, 12);
      expect(found.low).toBeCloseTo(at(0.025), 12);
      expect(found.high).toBeCloseTo(at(0.975), 12);
    }),
    { numRuns: 50 },
  );
});

test('independent questions have about the interval that theory gives, seven alike about a picture a wider one', () => {
  const random = createRandom(3);
  const marks = Array.from({ length: 700 }, () => Number(random() < 0.8));
  const alone = createBootstrap([...marks.keys()]).share(marks);
  const p = alone.accuracy;
  const half = 1.96 * Math.sqrt((p * (1 - p)) / 700);
  expect(alone.high - alone.low).toBeGreaterThan(2 * half * 0.85);
  expect(alone.high - alone.low).toBeLessThan(2 * half * 1.15);
  const pictures = marks.map((_, i) => Math.floor(i / 7));
  const alike = pictures.map((picture) => marks[picture]);
  const wide = createBootstrap(pictures).share(alike);
  expect(wide.high - wide.low).toBeGreaterThan(2 * (alone.high - alone.low));
});

test('where nothing varies it is Wilson’s for the pictures, not a point', () => {
  const pictures = [0, 0, 0, 1, 1, 2];
  const all = createBootstrap(pictures).share(pictures.map(() => 1));
  expect(all).toEqual({ ...withInterval(1, 3), n: 6 });
  const some = createBootstrap(pictures).share([1, undefined, undefined, 1, undefined, undefined]);
  expect(some).toEqual({ ...withInterval(1, 2), n: 2 });
});

test('a difference of equals is nothing, and what is better on every picture is better for certain', () => {
  const pictures = Array.from({ length: 40 }, (_, i) => Math.floor(i / 4));
  const bootstrap = createBootstrap(pictures);
  expect(bootstrap.mean(pictures.map(() => 0))).toMatchObject({ mean: 0, low: 0, high: 0 });
  const better = bootstrap.mean(pictures.map((_, i) => Number(i % 4 === 0)));
  expect(better.mean).toBe(0.25);
  expect([better.low, better.high]).toEqual([0.25, 0.25]);
});

test('the mean over runs leaves out what a run does not count', () => {
  expect(
    meanOfRuns([
      [1, 0, undefined],
      [0, undefined, undefined],
    ]),
  ).toEqual([0.5, 0, undefined]);
});
