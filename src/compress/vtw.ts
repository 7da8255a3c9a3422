/**
 * VTW: in the deep layers the text holds all that it will take from the picture; let the whole picture go.
 * "Boosting Multimodal Large Language Models with Visual Tokens Withdrawal", arXiv 2405.05803, lzhxmu/VTW.
 *
 *     layers 0 .. k − 1 run on text and picture, layers k .. L − 1 on the text alone, at the positions it had
 *
 *     k = the first layer from ⌊5·L/32⌉ up with   mean over samples of KL(p_withdrawn ‖ p_full) ≤ η
 *
 * where p is the distribution of the token that follows the prompt, and p_withdrawn the one when the picture leaves
 * before layer k. `findWithdrawal` (vtw-search.ts) is that search: 20 samples and η = .003 for 7B (k = 15), .0005 for 13B.
 *
 * | point | released code | here |
 * | --- | --- | --- |
 * | layer k | found beforehand, 15 of 32 | an option; 0, the default: from the budget |
 * | search | every layer from 5, of 32 or 40 | from the same share of the depth |
 * | divergence | `KLDivLoss(log p_full, p_withdrawn)`: KL(p_withdrawn ‖ p_full) | the same |
 * | positions | kept; renumbered as an option | kept |
 * | batch, place of the picture | 1, tokens 35 to 610 | any |
 *
 * No number of tokens stays, so the budget U of P sets the layer: the one at which the mean of the picture's tokens over
 * the layers comes nearest to U, k = ⌊L·U/P⌉, at least 1. U = P never withdraws. With a layer given, U plays no part.
 */
import type { LayerHook } from '../decoder/state.ts';
import { picking } from '../tensor/token-matrix.ts';
import { checkWhole } from './checks.ts';
import { countImage } from './image-tokens.ts';
import type { Method } from './method.ts';

export const vtw: Method<{ layer: number }> = {
  name: 'vtw',
  paper: 'Boosting Multimodal Large Language Models with Visual Tokens Withdrawal, arXiv 2405.05803',
  summary: 'drops all image tokens before one decoder layer, which the budget sets',
  stages: ['between'],
  defaults: { layer: 0 },
  help: {
    layer: { text: 'k, the first decoder layer without the picture; 0: where the mean over the layers is U' },
  },
  prepare({ decoderLayers: L, visualTokens }, budget, { layer }) {
    checkWhole('vtw: layer', layer, 0, L, `the decoder has ${L} layers, and 0 leaves it to the budget`);
    const from = layer || layerOfMean(L, budget, visualTokens);
    return {
      words: { 'decoder.matrix.LL': `from layer ${from} on the picture is gone` },
      between: () => withdrawBefore(from),
    };
  },
};

/** The layer from which P image tokens must be gone for the mean over L layers to be nearest to U; 1 to L. */
export const layerOfMean = (L: number, U: number, P: number): number => Math.max(1, Math.round((L * U) / P));

/** The picture leaves before layer k; L of L layers: it never does. */
export const withdrawBefore = (k: number): LayerHook => ({
  cut: (l, view) =>
    l === k
      ? picking(
          view.roles.map(() => []),
          countImage(view),
        )
      : undefined,
});
