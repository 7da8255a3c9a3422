/**
 * VTW: in the deep layers the text holds all that it will take from the picture; let the whole picture go.
 * "Boosting Multimodal Large Language Models with Visual Tokens Withdrawal", arXiv 2405.05803, lzhxmu/VTW.
 *
 *     layers 0 .. k − 1 run on text and picture, layers k .. L − 1 on the text alone, at the positions it had
 *
 *     k = the first layer from ⌊5·L/32⌉ up with   mean over samples of KL(p_withdrawn ‖ p_full) ≤ η
 *
 * where p is the distribution of the token that follows the prompt, and p_withdrawn the one when the picture leaves
 * before layer k. {@link findWithdrawal} is that search: 20 samples and η = .003 for 7B (k = 15), .0005 for 13B.
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
import * as tf from '@tensorflow/tfjs-core';
import { createCache, disposeCache } from '../decoder/cache.ts';
import { runLlama, type Llama } from '../decoder/llama.ts';
import { createRope } from '../decoder/rope.ts';
import type { DecoderInput, LayerHook } from '../decoder/state.ts';
import { UserError } from '../errors.ts';
import { checkBudget, checkWhole } from './checks.ts';
import { keepImageTokens } from './image-tokens.ts';
import type { DecoderMethod } from './method.ts';

export const vtw: DecoderMethod<{ layer: number }> = {
  name: 'vtw',
  paper: 'Boosting Multimodal Large Language Models with Visual Tokens Withdrawal, arXiv 2405.05803',
  summary: 'drops all image tokens before one decoder layer, which the budget sets',
  where: 'decoder',
  positions: 'original',
  defaults: { layer: 0 },
  help: {
    layer: { text: 'k, the first decoder layer without the picture; 0: where the mean over the layers is U' },
  },
  hook({ decoderLayers: L, visualTokens }, budget, { layer }) {
    checkBudget('vtw', budget, visualTokens);
    checkWhole('vtw: layer', layer, 0, L, `the decoder has ${L} layers, and 0 leaves it to the budget`);
    return withdrawBefore(layer || layerOfMean(L, budget, visualTokens));
  },
};

/** The layer from which P image tokens must be gone for the mean over L layers to be nearest to U; 1 to L. */
export const layerOfMean = (L: number, U: number, P: number): number => Math.max(1, Math.round((L * U) / P));

/** The picture leaves before layer k; L of L layers: it never does. */
export function withdrawBefore(k: number): LayerHook {
  return {
    needsAttention: () => false,
    beforeLayer: (l, state, past) =>
      l === k && past === 0
        ? keepImageTokens(
            state,
            state.roles.map(() => []),
          )
        : state,
  };
}

export interface WithdrawalSearch {
  /** k; L, never, when no layer's divergence is small enough. */
  layer: number;
  /** The mean KL(p_withdrawn ‖ p_full), in nats, of every layer that was tried, from the first up. */
  divergences: { layer: number; mean: number }[];
}

/**
 * VTW's search for its layer (section 3.3): the first whose mean divergence is at most `threshold`.
 * @param samples prompts with their pictures, as the decoder takes them; they stay the caller's
 * @param threshold η, in nats
 * @param from the first layer that is tried; by default the share of the depth that 5 is of 32
 * @throws UserError without samples
 */
export async function findWithdrawal(
  llama: Llama,
  samples: readonly DecoderInput[],
  { threshold = 0.003, from }: { threshold?: number; from?: number } = {},
): Promise<WithdrawalSearch> {
  if (samples.length === 0) throw new UserError('vtw: the search for a layer needs at least one sample');
  const L = llama.config.num_hidden_layers;
  const first = from ?? Math.max(1, Math.round((5 * L) / 32));
  checkWhole('vtw: from', first, 1, L, `the decoder has ${L} layers`);
  const full: Float64Array[] = [];
  for (const sample of samples) full.push(...(await nextTokenLogProbabilities(llama, sample)));
  const divergences: WithdrawalSearch['divergences'] = [];
  for (let layer = first; layer < L; layer++) {
    const withdrawn: Float64Array[] = [];
    for (const sample of samples) {
      withdrawn.push(...(await nextTokenLogProbabilities(llama, sample, withdrawBefore(layer))));
    }
    const sum = withdrawn.reduce((total, p, i) => total + divergence(p, full[i]), 0);
    divergences.push({ layer, mean: sum / full.length });
    if (sum / full.length <= threshold) return { layer, divergences };
  }
  return { layer: L, divergences };
}

/** KL(p ‖ q) = Σ p·(log p − log q), of log-probabilities. */
const divergence = (p: Float64Array, q: Float64Array): number =>
  p.reduce((sum, logP, i) => sum + Math.exp(logP) * (logP - q[i]), 0);

/** log p of the token that follows each item's prompt, [B][V], normalised in float64. */
async function nextTokenLogProbabilities(
  llama: Llama,
  input: DecoderInput,
  hook?: LayerHook,
): Promise<Float64Array[]> {
  const rope = createRope(llama.config, input.nextPosition);
  const cache = createCache();
  try {
    const logits = await runLlama(llama, input, { rope, cache, hook }); // [B, 1, V]
    const rows = await logits.array();
    logits.dispose();
    return rows.map(([row]) => {
      const largest = Math.max(...row);
      const sum = row.reduce((total, x) => total + Math.exp(x - largest), 0);
      return Float64Array.from(row, (x) => x - largest - Math.log(sum));
    });
  } finally {
    tf.dispose([rope.cos, rope.sin]);
    disposeCache(cache);
  }
}
