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
