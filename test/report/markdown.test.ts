import { expect, it } from 'vitest';
import { markdownTable } from '../../src/report/markdown.ts';

it('a table is Markdown with aligned columns', () => {
  expect(markdownTable(['what', 'who', 'ms'], [['a', 'torch', '1.5']], 2)).toBe(
    ['| what | who   |  ms |', '| ---- | ----- | --: |', '| a    | torch | 1.5 |'].join('\n'),
  );
});
