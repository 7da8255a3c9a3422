/** From log-probabilities to words. */
import { divergence, likeliest } from '../../eval/run/first.ts';
import { facts, truth, uncut } from '../store.ts';

/** The likeliest first words of an answer. */
export function topWords(logs: readonly number[], count = 5): { word: string; p: number }[] {
  const { tokens } = likeliest(Float64Array.from(logs));
  return tokens.slice(0, count).map((id) => ({ word: facts.vocabulary[id], p: Math.exp(logs[id]) }));
}

/** The word that counts as right: the true answer, or where nobody knows it what the uncut model says. */
export function wantedWord(): { word: string; known: boolean } | undefined {
  const true_ = truth.value;
  if ('answer' in true_) return { word: true_.answer, known: true };
  return uncut.value && { word: topWords(uncut.value.logs, 1)[0].word, known: false };
}

/** How likely a word is to be said first. */
export const chanceOf = (logs: readonly number[], word: string): number =>
  Math.exp(logs[facts.vocabulary.indexOf(word)] ?? -Infinity);

/** KL(uncut ‖ cut) of the first word, in nats. */
export const distance = (whole: readonly number[], cut: readonly number[]): number =>
  divergence(likeliest(Float64Array.from(whole)), Float64Array.from(cut));
