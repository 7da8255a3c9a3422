import type { Sampling } from '../../src/decoder/sample.ts';
import { softmax, sum, type Vector } from './ops.ts';

/**
 * The probabilities that sampling draws from, each step a set of tokens written as its own condition: a token stays
 * in top-k when fewer than k logits are larger, and in top-p when the tokens before it (larger ones, and equal ones
 * of lower id) together have less than p; the first always stays.
 */
export function samplingProbabilities(logits: Vector, { temperature, topK, topP }: Sampling): Vector {
  const inTopK = logits.map((x) => topK === 0 || logits.filter((y) => y > x).length < topK);
  const p = softmax(logits.map((x, id) => (inTopK[id] ? x / temperature : -Infinity)));
  const inTopP = logits.map((x, id) => {
    const before = logits.map((y, other) => (y > x || (y === x && other < id) ? p[other] : 0));
    return topP === 1 || sum(before) < topP || logits.every((y, o) => y < x || (y === x && o >= id));
  });
  const kept = p.map((x, id) => (inTopP[id] ? x : 0));
  return kept.map((x) => x / sum(kept));
}
