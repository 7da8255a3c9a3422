import { expect, test } from 'vitest';
import type { Compared } from '../../src/eval/run/compare.ts';
import { describeRow } from '../../src/eval/page/compare-report.ts';

test.each([
  ['', '(nothing)'],
  ['\u200B \uFEFF', '(nothing)'],
  [' a\n| b ', 'a | b'],
])('the answer %j is shown as %s', (text, shown) => {
  const row = { probability: 1, milliseconds: 1, layerTokens: [1] } as Compared;
  expect(describeRow(row, () => text).answer).toBe(shown);
});
