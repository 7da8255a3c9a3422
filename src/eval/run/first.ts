/** What a model would say first: how likely each token is to begin the answer. */

/** The likeliest first tokens with their log-probabilities; all of them where the vocabulary is small. */
export interface FirstToken {
  tokens: number[];
  logs: number[];
}

/** So many tokens are kept of a distribution. */
const mostTokens = 64;

/** log softmax, in float64. */
export function logSoftmax(logits: Float32Array): Float64Array {
  const top = logits.reduce((a, b) => Math.max(a, b));
  let sum = 0;
  for (const x of logits) sum += Math.exp(x - top);
  const shift = top + Math.log(sum);
  return Float64Array.from(logits, (x) => x - shift);
}

export function likeliest(logs: Float64Array): FirstToken {
  const tokens = [...logs.keys()].sort((a, b) => logs[b] - logs[a] || a - b).slice(0, mostTokens);
  return { tokens, logs: tokens.map((token) => round(logs[token])) };
}

/** Six decimals: a file of them says no more. */
const round = (x: number): number => Math.round(1e6 * x) / 1e6;

/**
 * How far a cut model's first token is from the uncut model's, in nats: p uncut, q cut,
 *
 *     KL(p ‖ q) = Σ_t p_t·(log p_t − log q_t)
 *
 * over the tokens that were kept of p, and one more term for all the others together: never more than over each.
 * @param logs log q of every token
 */
export function divergence({ tokens, logs: p }: FirstToken, logs: Float64Array): number {
  let [sum, restP, restQ] = [0, 1, 1];
  for (const [i, token] of tokens.entries()) {
    const [share, other] = [Math.exp(p[i]), Math.exp(logs[token])];
    sum += share * (p[i] - logs[token]);
    restP -= share;
    restQ -= other;
  }
  const isWhole = tokens.length === logs.length; // what is left of 1 is rounding
  if (!isWhole && restP > 1e-12) sum += restP * Math.log(restP / Math.max(restQ, 1e-12));
  return Math.max(0, sum);
}

/**
 * The choice that the model holds for the likeliest, if it must take one: each by the tokens that may begin it.
 * @param begins for each choice its first tokens
 * @returns undefined where two choices begin alike, so that the first token does not tell them apart
 */
export function chooseAmong(begins: readonly (readonly number[])[], logs: Float64Array): number | undefined {
  const all = begins.flat();
  if (begins.length === 0 || new Set(all).size < all.length) return undefined;
  const shares = begins.map((tokens) => tokens.reduce((sum, token) => sum + Math.exp(logs[token]), 0));
  return shares.indexOf(Math.max(...shares));
}
