/** Right and wrong answers, counted. */

/** Whether an answer is the right one: the same words, whatever the case and the space around them. */
export const isRight = (answer: string, truth: string): boolean => plain(answer) === plain(truth);

const plain = (text: string) => text.trim().toLowerCase();

/** A share of n questions with its 95 % interval. */
export interface Accuracy {
  n: number;
  accuracy: number;
  low: number;
  high: number;
}

/**
 * Wilson's score interval: the shares p whose distance from the one observed is within z standard errors at p,
 *
 *     (p̂ + z²/2n ± z·√(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n)
 *
 * which stays within 0 and 1 and holds for shares near them.
 * Marks between 0 and 1 vary less than p̂(1 − p̂), so for VQA's it is on the safe side.
 * @param accuracy p̂
 * @param n need not be whole
 */
export function withInterval(accuracy: number, n: number, z = 1.96): Accuracy {
  if (n < 1) throw new Error('no questions have no accuracy');
  const middle = accuracy + z ** 2 / (2 * n);
  const spread = z * Math.sqrt((accuracy * (1 - accuracy)) / n + z ** 2 / (4 * n ** 2));
  const scale = 1 + z ** 2 / n;
  return {
    n,
    accuracy,
    low: Math.max(0, (middle - spread) / scale),
    high: Math.min(1, (middle + spread) / scale),
  };
}

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, x) => sum + x, 0) / values.length;
