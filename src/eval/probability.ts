/** How likely a given answer is, token by token, under a prompt that a method has pruned. */
import * as tf from '@tensorflow/tfjs-core';
import { prefill } from '../decoder/generate.ts';
import { runLlama, type Llama } from '../decoder/llama.ts';
import { embedText } from '../decoder/splice.ts';
import type { DecoderInput, LayerHook } from '../decoder/state.ts';

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
): Promise<number> {
  const asked = [...tokens.map((token) => [token]), ...(stopTokens.length > 0 ? [stopTokens] : [])];
  const session = await prefill(llama, prompt, { maxNewTokens: asked.length, hook });
  let logits = session.logits;
  let probability = 1;
  try {
    for (const [t, wanted] of asked.entries()) {
      const chances = softmax((await logits.data()) as Float32Array);
      probability *= wanted.reduce((sum, token) => sum + chances[token], 0);
      if (t + 1 === asked.length) break;
      const token = embedText(llama, [[tokens[t]]]); // at position 0 …
      const positions = tf.fill([1, 1], session.nextPosition++, 'int32') as tf.Tensor2D; // … but it stands here
      const { rope, cache } = session;
      const next = await runLlama(llama, { ...token, positions }, { rope, cache, hook });
      tf.dispose([token.hidden, token.positions, positions]);
      if (logits !== session.logits) logits.dispose();
      logits = next;
    }
    return probability;
  } finally {
    if (logits !== session.logits) logits.dispose();
    session.dispose();
  }
}

function softmax(logits: Float32Array): number[] {
  const top = logits.reduce((a, b) => Math.max(a, b));
  const powers = Array.from(logits, (x) => Math.exp(x - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}
