/**
 * Average pooling before the decoder: what a token of a coarser picture would be. The training-free baseline of
 * merging, and LLaVolta's compressor at layer −1 ("Efficient Large Multi-modal Models via Visual Context
 * Compression", 2406.20092).
 *
 *     raster   token i = mean of patches ⌊i · P / U⌋ … ⌊(i + 1) · P / U⌋ − 1          1-D, as LLaVolta pools
 *     grid     r = round(√U) bands of grid rows, band j cut into u_j cells            2-D
 *              u_j = ⌊(j + 1) · U / r⌋ − ⌊j · U / r⌋;  token = mean of its cell
 *
 * LLaVolta's released code pools with a whole stride s, so it can make ⌊P / s⌋ tokens only and forgets what is left
 * over; here strides differ by one where they must, U is exact and every patch is in one token, so the mean of the
 * tokens, weighted by their sizes, is the mean of F. Where U = P / s² the grid is PyTorch's `avg_pool2d(s)`, where
 * U = P / s the raster its `avg_pool1d(s)`. U = P changes nothing.
 */
import { matrixOf, meanOf } from '../tensor/token-matrix.ts';
import type { Method } from './method.ts';
import { gridOf } from './selected-layer.ts';

const patterns = ['raster', 'grid'] as const;

export const pooling: Method<{ pattern: (typeof patterns)[number] }> = {
  name: 'pooling',
  paper: 'Efficient Large Multi-modal Models via Visual Context Compression (LLaVolta), arXiv 2406.20092',
  summary: 'takes the mean of neighbouring patches, the same cells in every picture',
  stages: ['before'],
  makesTokens: true,
  means: true,
  defaults: { pattern: 'grid' },
  help: { pattern: { text: 'runs along the raster, or cells of the grid', choices: patterns } },
  prepare(source, budget, { pattern }) {
    const { patches: P } = source;
    const cells = pattern === 'raster' ? cut(P, budget) : cutGrid(gridOf(source, 'pooling'), budget);
    const rows = cells.map(meanOf);
    return {
      words: { 'compress.matrix': `the mean of each of ${budget} cells of the ${pattern}` },
      choose: ({ B }) => ({
        W: matrixOf(
          Array.from({ length: B }, () => rows),
          P,
        ),
      }),
    };
  },
};

/** 0 .. length − 1 in n runs as even as can be. */
const cut = (length: number, n: number): number[][] =>
  Array.from({ length: n }, (_, i) => {
    const [from, to] = [i, i + 1].map((end) => Math.floor((end * length) / n));
    return Array.from({ length: to - from }, (_, k) => from + k);
  });

function cutGrid(G: number, U: number): number[][] {
  const r = Math.round(Math.sqrt(U)); // then no band needs more than G cells, as in uniform.ts
  return cut(G, r).flatMap((rows, j) => {
    const inBand = Math.floor(((j + 1) * U) / r) - Math.floor((j * U) / r);
    return cut(G, inBand).map((columns) => rows.flatMap((row) => columns.map((column) => row * G + column)));
  });
}
