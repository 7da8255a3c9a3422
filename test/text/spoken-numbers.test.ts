import { expect, test } from 'vitest';
import { readSpoken, writeAnswer } from '../../src/text/spoken-numbers.ts';

const words = ['<loc>', 'red', 'ring', ','];
const tokenizer = { decode: (ids: readonly number[]) => ids.map((id) => words[id]).join(' ') };

test('tells after each number token what it stands for', () => {
  const numbers = [[0.1, 0.2, 0.25, 0.35], [1]];
  expect(writeAnswer(tokenizer, [1, 0, 3, 0, 2], { id: 0, numbers })).toBe(
    'red <loc> [0.1000, 0.2000, 0.2500, 0.3500] , <loc> [1.0000] ring',
  );
  expect(writeAnswer(tokenizer, [1, 2], { id: 0, numbers: [] })).toBe('red ring');
  expect(writeAnswer(tokenizer, [0])).toBe('<loc>');
});

test('reads the first of them back', () => {
  expect(readSpoken('red <loc> [0.1000, 0.25] , <loc> [1]')).toEqual([0.1, 0.25]);
  expect(readSpoken('<loc>')).toBeUndefined();
  expect(readSpoken('a [b, c]')).toBeUndefined();
});
