/**
 * Random choice: what any score has to beat. No paper; it belongs in every table, over several seeds.
 *
 *     π    = 0 .. P − 1, shuffled by the seed (Fisher–Yates)
 *     kept = sort(π[0 .. U − 1])                    over seeds, every choice of U patches is equally likely
 *     F'   = F[kept]
 *
 * The choice follows from the seed alone: under one seed all pictures keep the same places. So an answer does not
 * depend on the batch it was asked in, and a smaller budget keeps part of what a larger one keeps. Chance shows only
 * between seeds.
 */
import { createRandom, shuffle } from '../random.ts';
import { checkWhole } from './checks.ts';
import { keepSame } from './keep.ts';
import type { Method } from './method.ts';

export const random: Method<{ seed: number }> = {
  name: 'random',
  paper: 'a baseline; no paper',
  summary: 'keeps patches at random, the same places in every picture',
  stages: ['before'],
  defaults: { seed: 0 },
  help: { seed: { text: 'which choice, a whole number from 0' } },
  prepare({ patches: P }, budget, { seed }) {
    checkWhole('random: seed', seed, 0);
    return keepSame(
      drawTokens(P, budget, seed),
      P,
      `the first ${budget} of ${P} patches shuffled by seed ${seed}`,
    );
  },
};

/** The first U of π, in its order: U of P tokens, and of a smaller U the beginning. */
export const drawTokens = (P: number, U: number, seed: number): number[] =>
  shuffle(createRandom(seed), [...Array(P).keys()]).slice(0, U);
