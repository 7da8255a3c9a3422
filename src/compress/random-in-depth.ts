/**
 * Random choice between the decoder's layers: what any score in depth has to beat, FastV's first.
 * "When Token Pruning is Worse than Random: Understanding Visual Token Information in VLLMs" (first "All You Need Are
 * Random Visual Tokens?"), arXiv 2512.07580, YahongWang1/Information-Horizon.
 *
 *     π    = 0 .. P − 1, shuffled by the seed and the picture's number, as random's is
 *     kept = sort(π[0 .. U − 1])         layers 0 .. k − 1 see all P image tokens, layers k .. L − 1 those U
 *
 * The paper finds that what a visual token tells becomes alike for all of them with depth, and nothing at an "information
 * horizon"; from there on a score chooses no better than chance.
 *
 * | point | released code (modeling_llama_self.py) | here |
 * | --- | --- | --- |
 * | layer k | 20 of 32, after DivPrune or DART | 2 by default, as FastV's: it is its control; `divprune+random-in-depth` |
 * | draws | `random.sample` anew for each prompt, no seed | one for each picture, by the seed, as `random` |
 * | positions | counted anew, contiguous | original, as FastV's |
 * | batch | 1 | any |
 *
 * No attention is read, so k may be 0, before the decoder: there it is `random` with original positions, token by token.
 * The budget U is what is left after the cut: the first k layers still hold P, which the costs show.
 */
import { checkWhole } from './checks.ts';
import { countImage } from './image-tokens.ts';
import type { Method } from './method.ts';
import { drawTokens } from './random.ts';

export const randomInDepth: Method<{ layer: number; seed: number }> = {
  name: 'random-in-depth',
  paper: 'When Token Pruning is Worse than Random, arXiv 2512.07580',
  summary: 'between two decoder layers, keeps image tokens at random, drawn anew for each picture',
  stages: ['between'],
  defaults: { layer: 2, seed: 0 },
  help: {
    layer: { text: 'k, the first decoder layer that runs without the dropped tokens; 0: before the decoder' },
    seed: { text: 'which choice, a whole number from 0' },
  },
  prepare({ decoderLayers }, budget, { layer, seed }, { pictures }) {
    const why = `the decoder has ${decoderLayers} layers`;
    checkWhole('random-in-depth: layer', layer, 0, decoderLayers - 1, why);
    checkWhole('random-in-depth: seed', seed, 0);
    return {
      words: {
        'decoder.matrix.LL': `the first ${budget} of the image tokens, shuffled by seed ${seed} for each picture`,
      },
      between: () => ({
        cut(l, view) {
          const P = countImage(view);
          if (l !== layer || P <= budget) return undefined;
          return drawTokens(view.roles.length, P, budget, seed, pictures);
        },
      }),
    };
  },
};
