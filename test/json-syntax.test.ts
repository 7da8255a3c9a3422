import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UserError } from '../src/errors.ts';
import { parseJson } from '../src/json-syntax.ts';

test.each([
  ['', 'line 1, column 1: it ends too early'],
  ['{"a": 1', 'line 1, column 8: it ends too early'],
  ['{"a": 1}}', 'line 1, column 9: unexpected "}"'],
  ['{"a": x}', 'line 1, column 7: unexpected "x"'],
  ['{\n  "a": 1,\n  b: 2\n}', 'line 3, column 3: unexpected "b"'],
  ['{\n  "a": [1, 2,\n]}', 'line 3, column 1: unexpected "]"'],
  ['[1 2]', 'line 1, column 4: unexpected "2"'],
  ["{'a': 1}", `line 1, column 2: unexpected "'"`],
  ['[1, 😀]', 'line 1, column 5: unexpected "😀"'],
  ['"half', 'line 1, column 1: unexpected "\\""'],
  ['<html>', 'line 1, column 1: unexpected "<"'],
  ['[01]', 'line 1, column 3: unexpected "1"'],
])('%j', (text, told) => {
  expect(() => parseJson(text, 'config.json')).toThrow(new UserError(`config.json is not JSON: ${told}`));
});

test('is JSON.parse for JSON, and names a place inside of the text for all else', () => {
  const damaged = fc
    .tuple(
      fc.json(),
      fc.nat(),
      fc.nat(2),
      fc.constantFrom('{', '}', '[', ']', ',', ':', '"', '\\', '1', ' ', '\n', 'x', '-', '.'),
    )
    .map(([text, place, cut, put]) => {
      const at = place % (text.length + 1);
      return text.slice(0, at) + put + text.slice(at + cut);
    });
  fc.assert(
    fc.property(damaged, (text) => {
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch {
        expect(() => parseJson(text, 'f')).toThrow(
          /^f is not JSON: line \d+, column \d+: (unexpected "|it ends too early$)/,
        );
        return;
      }
      expect(parseJson(text, 'f')).toEqual(value);
    }),
    { numRuns: 1000 },
  );
});

test('up to the place that it names the text could have gone on', () => {
  fc.assert(
    fc.property(fc.json(), fc.nat(), (text, place) => {
      const at = place % text.length;
      const broken = `${text.slice(0, at)}\u0001${text.slice(at)}`;
      expect(() => parseJson(broken, 'f')).toThrow(UserError);
    }),
  );
});

test('nesting deeper than 100, on which the quoting in messages would overflow the stack', () => {
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
  expect(() => parseJson(nested(100), 'f')).not.toThrow();
  for (const depth of [101, 1e5]) {
    expect(() => parseJson(`{"a":${nested(depth)}}`, 'f')).toThrow(
      new UserError('f nests more than 100 deep'),
    );
  }
});

test('a string of millions of escapes in what is no JSON', () => {
  const string = `"${'\\n'.repeat(5e6)}`;
  expect(() => parseJson(string, 'f')).toThrow(
    new UserError('f is not JSON: line 1, column 1: unexpected "\\""'),
  );
  expect(() => parseJson(`[${string}",]`, 'f')).toThrow(
    new UserError('f is not JSON: line 1, column 10000005: unexpected "]"'),
  );
});
