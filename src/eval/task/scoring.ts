/** How an answer is marked, by the task: 1 for a right one, 0 for a wrong one, VQA and boxes also between. */
import { readSpoken } from '../../text/spoken-numbers.ts';
import { overlap } from '../../world/overlap.ts';
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

/** Of questions from a file, by its form. */
export const scorings = {
  exact: (said: string, { answer }: Truth): number => Number(isRight(said, answer)),
  pope: (said: string, { answer }: Truth): number => Number(saysYes(said) === (answer === 'yes')),
  vqa: (said: string, { answer, answers = [answer] }: Truth): number => vqaAccuracy(said, answers),
};
export type ScoringName = keyof typeof scorings;

/** And of boxes: how much the one that is said overlaps the one that is meant, 0 where none is said. */
export const markers = {
  ...scorings,
  boxes: (said: string, { answer }: Truth): number => {
    const [box, truth] = [readSpoken(said), readSpoken(answer)!];
    return box?.length === truth.length ? overlap(box, truth) : 0;
  },
};
export type MarkerName = keyof typeof markers;

/** Whether an answer is one of those that its question may have; of a sentence that answers yes or no, its first word. */
export function isChoice(scoring: MarkerName, said: string, choices: readonly string[]): boolean {
  const words = scoring === 'pope' ? said.trim().split(/[\s,.!]/)[0] : said;
  return choices.some((choice) => isRight(words, choice));
}
