/** VTW's search for its layer: where the next token's distribution hardly changes when the picture leaves. */
import { prefill } from '../decoder/generate.ts';
import type { Llama } from '../decoder/llama.ts';
import type { DecoderInput, LayerHook } from '../decoder/state.ts';
import { UserError } from '../errors.ts';
import { scope } from '../tensor/scope.ts';
import { checkWhole } from './checks.ts';
import { withdrawBefore } from './vtw.ts';

/** What the search found. */
export interface WithdrawalSearch {
  /** k; L, never, when no layer's divergence is small enough. */
  layer: number;
  /** The mean KL(p_withdrawn ‖ p_full), in nats, of every layer that was tried, from the first up. */
  divergences: { layer: number; mean: number }[];
}

/** Where the search ends and begins. */
export interface WithdrawalOptions {
  /** η, in nats. */
  threshold?: number;
  /** The first layer that is tried; by default the share of the depth that 5 is of 32. */
  from?: number;
}

/**
 * VTW's search for its layer (section 3.3): the first whose mean divergence is at most `threshold`.
 * @param samples prompts with their pictures, as the decoder takes them; they stay the caller's
 * @throws UserError without samples
 */
export async function findWithdrawal(
  llama: Llama,
  samples: readonly DecoderInput[],
  { threshold = 0.003, from }: WithdrawalOptions = {},
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
  using own = scope();
  const { logits } = own(await prefill(llama, input, { maxNewTokens: 0, hook })); // [B, 1, V]
  return (await logits.array()).map(([row]) => {
    const largest = Math.max(...row);
    const sum = row.reduce((total, x) => total + Math.exp(x - largest), 0);
    return Float64Array.from(row, (x) => x - largest - Math.log(sum));
  });
}
