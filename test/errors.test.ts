import { expect, test } from 'vitest';
import { UserError } from '../src/errors.ts';

test.each([
  ['a\nb\r\n\tc', 'a\\nb\\r\\n\\tc'],
  ['\u001b[31mred\u0007', '\\u001b[31mred\\u0007'],
  ['line\u2028end', 'line\\u2028end'],
  ['\u202Eevil', '\\u202eevil'],
  ['half \ud83d of a pair', 'half \\ud83d of a pair'],
  ['größer 😀 5 × 5 … µ', 'größer 😀 5 × 5 … µ'],
])('the message %j is told on one line', (message, told) => {
  expect(new UserError(message).message).toBe(told);
});

test('of a very long message the middle is left out', () => {
  const { message } = new UserError(`config.json: x is ${'9'.repeat(1e6)}, should be 1`);
  expect(message.length).toBeLessThan(2000);
  expect(message).toMatch(/^config\.json: x is 9+ … 9+, should be 1$/);
});
