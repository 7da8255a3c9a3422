/** What a cell costs: counted exactly, so that parts of it join to the same figures in any order. */
import { cacheBytes, prefillMacs } from '../../cost.ts';
import type { DecoderConfig } from '../../decoder/config.ts';

/** So many questions whose prompts had these tokens in each decoder layer. */
export interface PromptCount {
  layers: number[];
  questions: number;
}

/** Means over the questions. */
export interface Costs {
  /** Tokens in each decoder layer after the prompt: the actual ones, text and picture. */
  layerTokens: number[];
  /** Of reading the prompt, all decoder layers. */
  prefillFlops: number;
  /** Keys and values of the prompt, float32. */
  cacheBytes: number;
}

/** Measured: pictures seen, all of a cell's prompts read and answers written, in milliseconds. */
export interface Times {
  /** The tower, asked for no more than this method wants, and the method's own part before the decoder. */
  see: number;
  prefill: number;
  decode: number;
}

/** Equal prompts together, in an order of their own. */
export function joinPrompts(counts: readonly PromptCount[]): PromptCount[] {
  const joined = new Map<string, PromptCount>();
  for (const { layers, questions } of counts) {
    const key = layers.join();
    joined.set(key, { layers, questions: questions + (joined.get(key)?.questions ?? 0) });
  }
  const keys = [...joined.keys()].sort();
  return keys.map((key) => joined.get(key)!);
}

/** @param prompts as {@link joinPrompts} leaves them: then equal counts give equal figures, to the last bit */
export function costOf(config: DecoderConfig, prompts: readonly PromptCount[]): Costs {
  const mean = (of: (layers: number[]) => number) =>
    prompts.reduce((sum, { layers, questions }) => sum + questions * of(layers), 0) /
    prompts.reduce((sum, { questions }) => sum + questions, 0);
  return {
    layerTokens: Array.from({ length: config.num_hidden_layers }, (_, l) => mean((layers) => layers[l])),
    prefillFlops: mean((layers) => 2 * prefillMacs(config, layers)),
    cacheBytes: mean((layers) => cacheBytes(config, layers)),
  };
}

/**
 * How deep the picture goes, where that is the question's: for 1, 2, … L decoder layers the share of the questions whose
 * prompts had all their tokens in so many.
 * @returns undefined where all went equally deep
 */
export function depthsOf(prompts: readonly PromptCount[]): number[] | undefined {
  const counts = (prompts[0]?.layers ?? []).map(() => 0);
  for (const { layers, questions } of prompts) {
    counts[layers.filter((tokens) => tokens === layers[0]).length - 1] += questions;
  }
  const all = counts.reduce((sum, n) => sum + n, 0);
  return all === 0 || counts.includes(all) ? undefined : counts.map((n) => n / all);
}

export function addTimes(times: readonly Times[]): Times {
  const sum = (part: keyof Times) => times.reduce((total, time) => total + time[part], 0);
  return { see: sum('see'), prefill: sum('prefill'), decode: sum('decode') };
}
