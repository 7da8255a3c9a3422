/** How an answer is marked, by the task: 1 for a right one, 0 for a wrong one, VQA also between. */
import { saysYes } from './pope-score.ts';
import { isRight } from './score.ts';
import { vqaAccuracy } from './vqa-score.ts';

/** What is right. */
export interface Truth {
  /** The one right answer; of several people's the first. */
  answer: string;
  /** What several people answered, for VQA. */
  answers?: readonly string[];
}

export const scorings = {
  exact: (said: string, { answer }: Truth): number => Number(isRight(said, answer)),
  pope: (said: string, { answer }: Truth): number => Number(saysYes(said) === (answer === 'yes')),
  vqa: (said: string, { answer, answers = [answer] }: Truth): number => vqaAccuracy(said, answers),
};
export type ScoringName = keyof typeof scorings;

/** Whether an answer is one of those that its question may have; of a sentence that answers yes or no, its first word. */
export function isChoice(scoring: ScoringName, said: string, choices: readonly string[]): boolean {
  const words = scoring === 'pope' ? said.trim().split(/[\s,.!]/)[0] : said;
  return choices.some((choice) => isRight(words, choice));
}
