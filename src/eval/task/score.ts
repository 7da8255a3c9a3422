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

/**
 * The accuracy of S seeds on the same n questions, with an interval over both. The mean of x_si varies with the questions
 * drawn and with the seeds drawn; in a table of both (two-way analysis of variance) its squared error is
 *
 *     e² = var(question means)/n + var(seed means)/S − var(x_si − question mean − seed mean + mean)/(n·S)
 *
 * Wilson's interval takes it as the size of a sample that would have this error, p̂(1 − p̂)/e², but never more than n:
 * more seeds are not more questions.
 * @param marks [S][n], each from 0 to 1
 */
export function withSeeds(marks: readonly (readonly number[])[]): Accuracy {
  const [S, n] = [marks.length, marks[0].length];
  const bySeed = marks.map(mean);
  const accuracy = mean(bySeed);
  if (S === 1 || n === 1) return withInterval(accuracy, n);
  const byQuestion = marks[0].map((_, i) => mean(marks.map((row) => row[i])));
  const rest = marks.flatMap((row, s) => row.map((x, i) => (x - bySeed[s] - byQuestion[i] + accuracy) ** 2));
  const shared = mean(rest) / (S - 1) / n; // Σ/(n·(S − 1)), over n·S
  const questions = mean(byQuestion.map((x) => (x - accuracy) ** 2)) / n; // with n, as in Wilson's: equal seeds are as one
  const error = Math.max(questions, questions + variance(bySeed) / S - shared);
  const size = error > 0 ? Math.min(n, (accuracy * (1 - accuracy)) / error) : n;
  return { ...withInterval(accuracy, Math.max(1, size)), n };
}

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, x) => sum + x, 0) / values.length;

/** With n − 1. */
function variance(values: readonly number[]): number {
  const middle = mean(values);
  return values.reduce((sum, x) => sum + (x - middle) ** 2, 0) / (values.length - 1);
}
