import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { random } from '../../src/compress/random.ts';
import { UserError } from '../../src/errors.ts';
import { checkSelection } from '../../src/testing/selection.ts';
import { assertNone } from '../../src/testing/violation.ts';
import { describeEachBackend } from '../support/backends.ts';
import { runMethod, seenOf, sourceOf } from '../support/methods.ts';
import { axis, draw, expectNewTensors, randoms, tidyEachTest } from '../support/random.ts';

const cases = fc
  .record({ values: randoms, B: axis(3), P: axis(30), n: fc.nat(), seed: fc.nat(1e9) })
  .map(({ values, B, P, n, seed }) => ({ patches: draw(values, [B, P, 2]), P, U: 1 + (n % P), seed }));

async function choose(patches: number[][][], U: number, seed: number) {
  const seen = seenOf(tf.tensor3d(patches));
  const { tokens, kept } = await runMethod(random, seen, U, { options: { seed } });
  return { tokens: tokens.arraySync(), kept: kept! };
}

describeEachBackend('random', () => {
  tidyEachTest();

  test('keeps exactly U patches of each picture, ascending, and their features', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ patches, P, U, seed }) => {
        const { tokens, kept } = await choose(patches, U, seed);
        for (const [b, row] of kept.entries()) {
          assertNone(checkSelection({ kept: row, budget: U, patches: P }));
          expect(tokens[b]).toEqual(row.map((p) => patches[b][p]));
        }
      }),
      { numRuns: 40 },
    );
  });

  test('a seed is a choice, and a smaller budget keeps part of what a larger one keeps', async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.nat(), async ({ patches, P, U, seed }, n) => {
        const { kept } = await choose(patches, U, seed);
        expect((await choose(patches, U, seed)).kept).toEqual(kept);
        const more = (await choose(patches, U + (n % (P - U + 1)), seed)).kept[0];
        expect(more).toEqual(expect.arrayContaining(kept[0]));
      }),
      { numRuns: 40 },
    );
  });

  test('a picture’s choice follows from its number, whatever batch it is in', async () => {
    const chosen = async (pictures: number[]) => {
      const seen = seenOf(tf.zeros([pictures.length, 20, 1]));
      return (await runMethod(random, seen, 7, { options: { seed: 5 }, resources: { pictures } })).kept!;
    };
    const all = await chosen([0, 1, 2, 3]);
    expect(await chosen([3, 1])).toEqual([all[3], all[1]]);
    expect((await runMethod(random, seenOf(tf.zeros([4, 20, 1])), 7, { options: { seed: 5 } })).kept).toEqual(
      all,
    );
    expect(new Set(all.map(String)).size).toBe(4);
  });

  test('a seed’s choice stays the same, or tables could not be made again', async () => {
    const { kept } = await choose([Array.from({ length: 16 }, () => [0])], 4, 0);
    expect(kept).toEqual([[3, 7, 8, 10]]);
  });

  test.each(['seeds', 'pictures'])(
    'over %s, every patch is kept equally often, and so is every pair',
    async (what) => {
      const [P, U, seeds] = [6, 3, 1500];
      const blank = Array.from({ length: P }, () => [0]);
      const rows: number[][] = [];
      if (what === 'pictures') rows.push(...(await choose(Array<number[][]>(seeds).fill(blank), U, 1)).kept);
      else for (let seed = 0; seed < seeds; seed++) rows.push((await choose([blank], U, seed)).kept[0]);
      const alone = Array<number>(P).fill(0);
      const pairs = new Map<string, number>();
      for (const kept of rows) {
        for (const [i, p] of kept.entries()) {
          alone[p]++;
          for (const q of kept.slice(0, i)) pairs.set(`${q} ${p}`, (pairs.get(`${q} ${p}`) ?? 0) + 1);
        }
      }
      // Binomial counts: U/P of the seeds, and U·(U − 1)/(P·(P − 1)) of them; 5 deviations are about 100 and 80.
      for (const count of alone) expect(Math.abs(count - seeds / 2)).toBeLessThan(100);
      expect(pairs.size).toBe(15);
      for (const count of pairs.values()) expect(Math.abs(count - seeds / 5)).toBeLessThan(80);
    },
  );

  test('a run leaves its results and nothing else', async () => {
    const seen = seenOf(tf.zeros([2, 9, 3]));
    await expectNewTensors(1, 'random', () => runMethod(random, seen, 4, { options: { seed: 3 } }));
  });
});

test.each([-1, 0.5])('seed %d is refused', (seed) => {
  const message = `random: seed=${seed} is not a whole number from 0`;
  expect(() => random.prepare(sourceOf({ patches: 16 }), 4, { seed }, {})).toThrow(new UserError(message));
});
