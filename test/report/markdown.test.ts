import { expect, it } from 'vitest';
import { escapeMarkdown, markdownCode, markdownTable } from '../../src/report/markdown.ts';

it('a table is Markdown with aligned columns', () => {
  expect(markdownTable(['what', 'who', 'ms'], [['a', 'torch', '1.5']], 2)).toBe(
    ['| what | who   |  ms |', '| ---- | ----- | --: |', '| a    | torch | 1.5 |'].join('\n'),
  );
});

it('a cell stays a cell of text whatever it holds', () => {
  expect(markdownTable(['a|b'], [['x\n| y']], 1)).toBe(
    ['| a\\|b   |', '| ------ |', '| x \\| y |'].join('\n'),
  );
});

it.each([
  ['`code` *bold* <b>', '\\`code\\` \\*bold\\* \\<b\\>'],
  ['[a](b) [62.1, 63]', '[a\\](b) [62.1, 63]'],
  ['&lt; & &#60;', '&amp;lt; & &amp;#60;'],
  ['a\\|b\r\n\u2028c', 'a\\\\\\|b c'],
])('%j is no markup', (text, escaped) => expect(escapeMarkdown(text)).toBe(escaped));

it.each([
  ['vtc eval', '`vtc eval`'],
  ['a `b` ``c``\nd', '``` a `b` ``c`` d ```'],
])('%j as code', (text, code) => expect(markdownCode(text)).toBe(code));
