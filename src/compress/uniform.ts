/**
 * Even spacing: what a method gains by looking at the picture shows against this. No paper; a baseline of every table.
 * P patches in a grid of G × G, U of them kept.
 *
 *     raster   kept[i] = ⌊(i + ½) · P / U⌋                         an even stride, as if the grid were one line
 *     grid     r = round(√U) rows, row j at ⌊(j + ½) · G / r⌋      the same stride down the rows …
 *              u_j = ⌊(j + 1) · U / r⌋ − ⌊j · U / r⌋ patches in it
 *              at columns ⌊(i + ½) · G / u_j⌋                      … and along each
 *
 * A raster's stride may be a multiple of G, and then all of its patches stand in a few columns; the grid is even both
 * ways. Both keep exactly U and take the middle of each stride.
 */
import { pickingSame } from '../tensor/token-matrix.ts';
import type { Method } from './method.ts';
import { gridOf } from './selected-layer.ts';

const patterns = ['raster', 'grid'] as const;

export const uniform: Method<{ pattern: (typeof patterns)[number] }> = {
  name: 'uniform',
  paper: 'a baseline; no paper',
  summary: 'keeps evenly spaced patches, the same places in every picture',
  stages: ['before'],
  defaults: { pattern: 'grid' },
  help: {
    pattern: { text: 'evenly along the raster, or in both directions of the grid', choices: patterns },
  },
  prepare(source, budget, { pattern }) {
    const { patches: P } = source;
    const places = pattern === 'raster' ? spread(budget, P) : spreadInGrid(budget, gridOf(source, 'uniform'));
    return {
      words: { 'compress.matrix': `${budget} of ${P} patches, evenly spread over the ${pattern}` },
      choose: ({ B }) => ({ W: pickingSame(places, B, P) }),
    };
  },
};

/** n places out of `length`, each in the middle of its stride. n ≤ length keeps them apart. */
const spread = (n: number, length: number): number[] =>
  Array.from({ length: n }, (_, i) => Math.floor(((2 * i + 1) * length) / (2 * n)));

function spreadInGrid(U: number, G: number): number[] {
  const r = Math.round(Math.sqrt(U)); // then no row needs more than its G patches: U ≤ r · (r + 1), and r · G where r = G
  return spread(r, G).flatMap((row, j) => {
    const inRow = Math.floor(((j + 1) * U) / r) - Math.floor((j * U) / r);
    return spread(inRow, G).map((column) => row * G + column);
  });
}
