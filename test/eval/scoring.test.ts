import fc from 'fast-check';
import { expect, test } from 'vitest';
import { popeFigures, saysYes } from '../../src/eval/task/pope-score.ts';
import { scorings } from '../../src/eval/task/scoring.ts';
import { normaliseAnswer, vqaAccuracy } from '../../src/eval/task/vqa-score.ts';

const ten = (counts: Record<string, number>) =>
  Object.entries(counts).flatMap(([word, n]) => Array<string>(n).fill(word));

test("VQA's accuracy of an answer that so many of ten people gave", () => {
  // By hand: with m matches, m people leave m − 1 others and 10 − m leave m.
  const byMatches = [0, 0.3, 0.6, 0.9, 1, 1, 1, 1, 1, 1, 1];
  for (const [m, expected] of byMatches.entries()) {
    expect(vqaAccuracy('red', ten({ red: m, blue: 10 - m })), String(m)).toBeCloseTo(expected, 12);
  }
});

test('a single answer is right or wrong', () => {
  expect(vqaAccuracy('A red ball.', ['red ball'])).toBe(1);
  expect(vqaAccuracy('blue', ['red'])).toBe(0);
});

/** The same by subsets: every nine of the ten, one after another. */
function naiveVqa(said: string, people: string[]): number {
  let sum = 0;
  for (let left = 0; left < people.length; left++) {
    let matches = 0;
    for (let i = 0; i < people.length; i++) if (i !== left && people[i] === said) matches++;
    sum += matches >= 3 ? 1 : matches / 3;
  }
  return sum / people.length;
}

test("VQA's accuracy is what its definition, subset by subset, gives", () => {
  const word = fc.constantFrom('red', 'blue', 'green');
  fc.assert(
    fc.property(word, fc.array(word, { minLength: 2, maxLength: 12 }), (said, people) => {
      expect(vqaAccuracy(said, people)).toBeCloseTo(naiveVqa(said, people), 12);
    }),
  );
});

test.each([
  ['The  Red\tBall', 'red ball'],
  ['an apple', 'apple'],
  ['Two', '2'],
  ['none', '0'],
  ['dont', "don't"],
  ["couldnt've", "couldn't've"],
  ["couldn'tve", "couldn't've"],
  ['yes.', 'yes'],
  ['3.5 m.', '3.5 m'],
  ['1,000', '1000'],
  ['left-handed', 'left handed'], // inside a word a mark becomes a space
  ['yes, it is', 'yes it is'], // beside a space it vanishes
  ['e-mail- box', 'email box'], // and then everywhere
  ['e-mail -box', 'email box'],
  ['red/blue (dark)', 'red blue dark'],
  ['1,000-2', '10002'], // with a comma between digits all marks vanish
  ["o'clock: 5", "o'clock: 5"], // apostrophes and colons stay
  ['a', ''],
])('%j is normalised to %j', (answer, expected) => {
  expect(normaliseAnswer(answer)).toBe(expected);
});

test('what is normalised once stays so, but for what its marks had hidden', () => {
  const words = fc.array(fc.constantFrom('the', 'one', 'dont', 'isnt', 'red', '4', "he'd"), { maxLength: 6 });
  fc.assert(
    fc.property(words, (list) => {
      const once = normaliseAnswer(list.join(' '));
      expect(normaliseAnswer(once)).toBe(once);
    }),
  );
});

test.each([
  ['Yes', true],
  ['no', false],
  ['No, there is none', false],
  ['There is not. Yes', false],
  ['I see it. no', true], // only the first sentence counts
  ['NO', true], // the script knows two spellings
  ['nothing', true],
  ['maybe', true],
  ['', true],
])('POPE reads %j as yes: %j', (answer, yes) => {
  expect(saysYes(answer)).toBe(yes);
});

test("POPE's figures, counted by hand", () => {
  // 3 true and 1 false positives, 2 true and 4 false negatives
  const answers = ['yes', 'yes', 'yes', 'yes', 'no', 'no', 'no', 'no', 'no', 'no'];
  const labels = ['yes', 'yes', 'yes', 'no', 'no', 'no', 'yes', 'yes', 'yes', 'yes'];
  const { accuracy, precision, recall, f1, yesRatio } = popeFigures(answers, labels);
  expect([accuracy, precision, yesRatio]).toEqual([0.5, 0.75, 0.4]);
  expect(recall).toBeCloseTo(3 / 7, 12);
  expect(f1).toBeCloseTo(6 / 11, 12); // 2·TP / (2·TP + FP + FN)
});

test('who never says yes has no precision, recall or F1, but may be right', () => {
  expect(popeFigures(['no', 'no'], ['no', 'yes'])).toEqual({
    accuracy: 0.5,
    precision: 0,
    recall: 0,
    f1: 0,
    yesRatio: 0,
  });
});

test("each task's marks", () => {
  expect(scorings.exact(' Red\n', { answer: 'red' })).toBe(1);
  expect(scorings.exact('a red', { answer: 'red' })).toBe(0);
  expect(scorings.pope('It is not', { answer: 'no' })).toBe(1);
  expect(scorings.pope('perhaps', { answer: 'no' })).toBe(0);
  expect(scorings.vqa('one', { answer: '1', answers: ten({ '1': 2, 'two': 8 }) })).toBeCloseTo(0.6, 12);
  expect(scorings.vqa('one', { answer: '1' })).toBe(1);
});
