/** How likely a given answer is, token by token, under a prompt that a method has pruned. */
import { prefill, runToken } from '../../decoder/generate.ts';
import type { Llama } from '../../decoder/llama.ts';
import type { DecoderInput, LayerHook } from '../../decoder/state.ts';
import { scope } from '../../tensor/scope.ts';
import type { Trace } from '../../tensor/trace.ts';
import { logSoftmax } from './first.ts';

export interface AskedAnswer {
  tokens: readonly number[];
  /** Where the answer had ended by itself: any of these may end it. Empty where it was cut off. */
  stopTokens: readonly number[];
}

/**
 * The decoder reads the prompt, then the answer instead of its own choices (teacher forcing), through the caches that
 * the method left, as in decoding:
 *
 *     P(answer) = Π_t softmax(logits_t)[token_t] · Σ_stop softmax(logits_R)[stop]
 *
 * @param prompt of one item; not disposed
 * @throws UserError when prompt and answer exceed the decoder's context
 */
export async function answerProbability(
  llama: Llama,
  prompt: DecoderInput,
  { tokens, stopTokens }: AskedAnswer,
  hook?: LayerHook,
  trace?: Trace,
): Promise<number> {
  using own = scope();
  const asked = [...tokens.map((token) => [token]), ...(stopTokens.length > 0 ? [stopTokens] : [])];
  const session = own(await prefill(llama, prompt, { maxNewTokens: asked.length, hook, trace }));
  let { logits } = session;
  let probability = 1;
  for (const [t, wanted] of asked.entries()) {
    const logs = logSoftmax((await logits.data()) as Float32Array);
    probability *= wanted.reduce((sum, token) => sum + Math.exp(logs[token]), 0);
    if (t + 1 < asked.length) logits = own(await runToken(llama, session, [tokens[t]]));
  }
  return probability;
}
