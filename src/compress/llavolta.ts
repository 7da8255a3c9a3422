/**
 * LLaVolta's visual context compressor, untrained: neighbours along the raster become their mean before one layer.
 * "Efficient Large Multi-modal Models via Visual Context Compression", arXiv 2406.20092, Beckschen/LLaVolta.
 *
 *     group u  = image tokens ⌊u·P/U⌋ .. ⌊(u + 1)·P/U⌋ − 1             where U divides P: a stride of s = P/U
 *     x'_u     = mean of the group's hidden states
 *     p'_u     = ⌊mean of the group's positions⌋                       before layer k
 *
 * | point | released code | here |
 * | --- | --- | --- |
 * | layer k | 2 (heavy), 16 (light), … ; −1 pools before the decoder | 2 by default; 0 pools before the decoder |
 * | pooling | `avg_pool1d`, stride 8 of 576 along the raster; a rest that fills no stride is dropped | groups of ⌊P/U⌋ or ⌈P/U⌉: exactly U, nothing dropped |
 * | positions | pooled too, cast to int | the same |
 * | stages | 4stage lightens as training goes on, its inference is uncompressed; heavy and light are trained and evaluated compressed, stride 8 before layer 2 or 16 (scripts/v1_5) | the compressor alone, at prefill |
 *
 * The paper trains with it; how much an untrained model bears is what a table shows. U is what is left from layer k on.
 */
import { matrixOf, meanOf } from '../tensor/token-matrix.ts';
import { checkWhole } from './checks.ts';
import { countImage } from './image-tokens.ts';
import type { Method } from './method.ts';

export const llavolta: Method<{ layer: number }> = {
  name: 'llavolta',
  paper: 'Efficient Large Multi-modal Models via Visual Context Compression, arXiv 2406.20092',
  summary: 'averages neighbouring image tokens along the raster before one decoder layer',
  stages: ['between'],
  means: true,
  defaults: { layer: 2 },
  help: { layer: { text: 'k, the first decoder layer that runs on the means; 0: before the decoder' } },
  prepare({ decoderLayers }, budget, { layer }) {
    checkWhole('llavolta: layer', layer, 0, decoderLayers - 1, `the decoder has ${decoderLayers} layers`);
    return {
      words: { 'decoder.matrix.LL': `runs of neighbours, each its mean, ${budget} of them` },
      between: () => ({
        positions: 'mean',
        cut(l, view) {
          const P = countImage(view);
          if (l !== layer || P <= budget) return undefined;
          const groups = groupTokens(P, budget).map(meanOf);
          return matrixOf(
            view.roles.map(() => groups),
            P,
          );
        },
      }),
    };
  },
};

/** P tokens in U groups of neighbours, [U][1 or more]. */
export function groupTokens(P: number, U: number): number[][] {
  const from = (u: number) => Math.floor((u * P) / U);
  const tokens = [...Array(P).keys()];
  return Array.from({ length: U }, (_, u) => tokens.slice(from(u), from(u + 1)));
}
