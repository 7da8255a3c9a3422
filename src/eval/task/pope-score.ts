/**
 * POPE's figures (Li et al. 2023, arXiv 2305.10355): is the object that a yes-or-no question names in the picture? Yes is
 * the positive class; a model that sees what is not there has a low precision and a high share of yes.
 */

/** As POPE's script reads an answer: no where its first sentence has the word no, No or not, yes for all else. */
export function saysYes(answer: string): boolean {
  const words = answer.split('.')[0].replaceAll(',', '').split(' ');
  return !['no', 'No', 'not'].some((word) => words.includes(word));
}

export interface PopeFigures {
  accuracy: number;
  precision: number;
  recall: number;
  f1: number;
  /** The share of questions answered yes. */
  yesRatio: number;
}

/** @param labels yes or no, the truth. A share of nothing is 0. */
export function popeFigures(answers: readonly string[], labels: readonly string[]): PopeFigures {
  const count = (said: boolean, truth: string) =>
    answers.filter((answer, i) => saysYes(answer) === said && labels[i] === truth).length;
  const [truePositive, falsePositive] = [count(true, 'yes'), count(true, 'no')];
  const [trueNegative, falseNegative] = [count(false, 'no'), count(false, 'yes')];
  const share = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
  const all = answers.length;
  const precision = share(truePositive, truePositive + falsePositive);
  const recall = share(truePositive, truePositive + falseNegative);
  return {
    accuracy: share(truePositive + trueNegative, all),
    precision,
    recall,
    f1: share(2 * precision * recall, precision + recall),
    yesRatio: share(truePositive + falsePositive, all),
  };
}
