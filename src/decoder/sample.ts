import { UserError } from '../errors.ts';
import type { Random } from '../random.ts';

/** How the next token is drawn from the logits. Temperature 0 is greedy: the largest logit, the lower id on a tie. */
export interface Sampling {
  temperature: number;
  /** Keep the k largest logits (and any equal to the k-th); 0 keeps all. */
  topK: number;
  /** Keep the fewest tokens whose probabilities reach p; 1 keeps all. */
  topP: number;
}

/** The most likely token, always. */
export const greedy: Sampling = { temperature: 0, topK: 0, topP: 1 };

/** @throws UserError for numbers that no draw can be made by */
export function checkSampling({ temperature, topK, topP }: Sampling): void {
  if (!(temperature >= 0 && temperature < Infinity)) {
    throw new UserError(`temperature=${temperature} is not a number of 0 or more`);
  }
  if (!Number.isSafeInteger(topK) || topK < 0) {
    throw new UserError(`topK=${topK} is not a whole number from 0`);
  }
  if (!(topP >= 0 && topP <= 1)) throw new UserError(`topP=${topP} is not a share, from 0 to 1`);
}

/**
 * The probabilities that sampling draws from, in Hugging Face's order: temperature, then top-k, then top-p.
 * @param logits [V]
 * @returns [V] in float64, summing to 1
 */
export function samplingProbabilities(
  logits: Float32Array,
  { temperature, topK, topP }: Sampling,
): Float64Array {
  const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
  let kept = order;
  if (topK > 0 && topK < order.length) kept = order.filter((id) => logits[id] >= logits[order[topK - 1]]);
  const weights = kept.map((id) => Math.exp((logits[id] - logits[order[0]]) / temperature));
  const total = weights.reduce((sum, w) => sum + w, 0);
  const probabilities = new Float64Array(logits.length);
  let before = 0; // probability of all larger ones: a token stays while this is below p
  let keptTotal = 0;
  for (const [i, id] of kept.entries()) {
    if (i > 0 && topP < 1 && before >= topP) break;
    probabilities[id] = weights[i];
    keptTotal += weights[i];
    before += weights[i] / total;
  }
  return probabilities.map((w) => w / keptTotal);
}

/**
 * Picks the next token.
 * @param logits [V]
 * @throws UserError when a logit is NaN
 */
export function pickToken(logits: Float32Array, sampling: Sampling, random: Random): number {
  if (logits.some(Number.isNaN))
    throw new UserError('decoder.logits hold NaN: the weights or the input hold NaN');
  if (sampling.temperature === 0) return logits.reduce((best, x, id) => (x > logits[best] ? id : best), 0);
  const probabilities = samplingProbabilities(logits, sampling);
  let left = random();
  let last = 0;
  for (const [id, p] of probabilities.entries()) {
    if (p === 0) continue;
    last = id;
    left -= p;
    if (left < 0) return id;
  }
  return last; // rounding left a crumb
}
