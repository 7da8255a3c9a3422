/**
 * Random choice: what any score has to beat. No paper; it belongs in every table, over several seeds.
 *
 *     π    = 0 .. P − 1, shuffled by the seed and the picture's number (Fisher–Yates)
 *     kept = sort(π[0 .. U − 1])                    every choice of U patches is equally likely
 *     F'   = F[kept]
 *
 * Each picture has a draw of its own: one mask for all pictures would be a single draw, however many are asked about. The
 * choice follows from the seed and the number, which an evaluation gives each picture; so an answer does not depend on the
 * batch it was asked in, and a smaller budget keeps part of what a larger one keeps.
 */
import { createRandom, seedOf, shuffle } from '../random.ts';
import { picking, type TokenMatrix } from '../tensor/token-matrix.ts';
import { checkWhole } from './checks.ts';
import type { Method } from './method.ts';

export const random: Method<{ seed: number }> = {
  name: 'random',
  paper: 'a baseline; no paper',
  summary: 'keeps patches at random, drawn anew for each picture',
  stages: ['before'],
  defaults: { seed: 0 },
  help: { seed: { text: 'which choice, a whole number from 0' } },
  prepare({ patches: P }, budget, { seed }, { pictures }) {
    checkWhole('random: seed', seed, 0);
    return {
      words: {
        'compress.matrix': `the first ${budget} of ${P} patches, shuffled by seed ${seed} for each picture`,
      },
      choose: ({ B }) => ({ W: drawTokens(B, P, budget, seed, pictures) }),
    };
  },
};

/** For each of B pictures the first U of π: of a smaller U part of the same. */
export const drawTokens = (
  B: number,
  P: number,
  U: number,
  seed: number,
  pictures?: readonly number[],
): TokenMatrix =>
  picking(
    Array.from({ length: B }, (_, b) => {
      const random = createRandom(seedOf(seed, pictures?.[b] ?? b));
      return shuffle(random, [...Array(P).keys()]).slice(0, U);
    }),
    P,
  );
