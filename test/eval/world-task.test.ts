import { expect, test } from 'vitest';
import { createWorldTask } from '../../src/eval/task/world-task.ts';

test('a question about one thing knows what it is, as its own words say where they say it', () => {
  const { questions } = createWorldTask('validation', 60);
  const about = (kind?: string) => questions.filter((question) => question.about === kind);
  for (const { type, question, answer } of about('letter')) {
    expect(question).toMatch(
      /^(what letter is there|(what color is|where is) the .*letter.*|where is the .*) \?$/,
    );
    expect(['letter', 'colour', 'quadrant'], type).toContain(type);
    expect(answer).not.toMatch(/^(small|large)$/);
  }
  for (const size of ['small', 'large'] as const) {
    const other = size === 'small' ? 'large' : 'small';
    const asked = about(`${size} shape`);
    expect(asked.length).toBeGreaterThan(20);
    for (const { type, question, answer } of asked) {
      expect(question).not.toMatch(new RegExp(`\\b(${other}|letter)\\b`));
      if (type === 'size') expect(answer).toBe(size);
    }
    expect(asked.some(({ type }) => type === 'size')).toBe(true);
  }
  const several = about(undefined);
  expect(several.length).toBeGreaterThan(20);
  for (const { type, answer } of several) {
    expect(['existence', 'count', 'relation'], type).toContain(type);
    if (type === 'count') expect(answer).not.toBe('one');
  }
});
