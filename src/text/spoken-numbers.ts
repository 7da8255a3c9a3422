/** Answers whose number tokens tell what they stand for: `<loc> [0.1000, 0.2000, 0.2500, 0.3500]`. */
import type { Tokenizer } from './tokenizer.ts';

/** What a number token stands for, and where it is in words. */
export interface SpokenNumbers {
  id: number;
  /** One row for each time that the token is among an answer's, in order. */
  numbers: readonly (readonly number[])[];
}

/** An answer in words. @param spoken where the decoder has a number token */
export function writeAnswer(
  { decode }: Pick<Tokenizer, 'decode'>,
  tokens: readonly number[],
  spoken?: SpokenNumbers,
): string {
  const text = decode(tokens).trim();
  if (!spoken || spoken.numbers.length === 0) return text;
  const word = decode([spoken.id]);
  const [first, ...rest] = text.split(word);
  return rest.reduce((said, part, i) => `${said}${word} [${formatNumbers(spoken.numbers[i])}]${part}`, first);
}

const formatNumbers = (numbers: readonly number[]): string => numbers.map((x) => x.toFixed(4)).join(', ');

/** The first numbers that an answer tells; undefined where it tells none. */
export function readSpoken(text: string): number[] | undefined {
  const found = /\[([^\]]*)\]/.exec(text)?.[1].split(',').map(Number);
  return found?.every(Number.isFinite) ? found : undefined;
}
