/** Cases that another program wrote: read, checked, refused by their place. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { checkCases } from '../../src/testing/cases.ts';
import { golden } from '../support/golden.ts';

const read = async (name: string) => checkCases(await readFile(golden(name), 'utf8'), name);

test('what Python wrote is right where it is, and wrong where it is, NaN as it writes it too', async () => {
  const right = await read('cases.json');
  expect(right.map(({ violations }) => violations)).toEqual(right.map(() => []));
  expect(right.map(({ kind }) => kind).join()).toBe('selection,selection,selection,merge,merge,cut,cut');
  const wrong = await read('wrong-cases.json');
  expect(wrong.map(({ name, violations }) => [name, ...violations.map(({ property }) => property)])).toEqual([
    ['sorted by score', 'ascending'],
    ['a score of NaN', 'finite'],
    ['sums', 'sum'],
    ['a lost word', 'text'],
  ]);
});

test('infinities are understood too, and a text that says NaN stays one', () => {
  const [one] = checkCases(
    '{"cases": [{"kind": "selection", "name": "a \\" NaN", "budget": 1, "scores": [-Infinity, NaN, Infinity], "kept": [0]}]}',
    'f',
  );
  expect(one.name).toBe('a " NaN');
  expect(one.violations[0].message).toBe('patch 0 scores -Infinity');
});

const selection = { kind: 'selection', budget: 1, patches: 2, kept: [0] };
const merge = { kind: 'merge', patches: 2, weights: [[1, 0]] };
const cut = { kind: 'cut', text: [0], image: [1], layers: [2] };
test.each<[unknown, string]>([
  [[], ' should hold an object with a list of cases'],
  [{ cases: {} }, ' should hold an object with a list of cases'],
  [{ cases: [] }, ': cases is empty'],
  [{ cases: [3] }, ': cases[0] should be an object, is 3'],
  [{ cases: [{}] }, ': cases[0].kind should be one of selection, merge, cut, is nothing'],
  [{ cases: [selection, { kind: 'x' }] }, ': cases[1].kind should be one of selection, merge, cut, is "x"'],
  [{ cases: [{ ...selection, budget: 1.5 }] }, ': cases[0].budget should be a whole number from 1, is 1.5'],
  [{ cases: [{ ...selection, kept: [0, 'a'] }] }, ': cases[0].kept[1] should be a number, is "a"'],
  [{ cases: [{ ...selection, kept: null }] }, ': cases[0].kept should be a list, is null'],
  [{ cases: [{ ...selection, score: [1] }] }, ': cases[0] has no field score: a selection has kept, budget, patches, scores, attention'], // prettier-ignore
  [{ cases: [{ ...selection, patches: undefined }] }, ': cases[0] should have patches, scores or attention'],
  [{ cases: [{ ...selection, scores: [1, 2, 3] }] }, ': cases[0] has 3 scores of 2 patches'],
  [{ cases: [{ ...selection, attention: [[1, 2], [1]] }] }, ': cases[0].attention should be rows of equally many numbers, is [[1,2],[1]]'], // prettier-ignore
  [{ cases: [{ ...selection, attention: [[[1, 2]], [[1]]] }] }, ': cases[0].attention should be [H][P] or [K][H][P], all rows equally long'], // prettier-ignore
  [{ cases: [{ ...merge, weights: [[1]] }] }, ': cases[0].weights[0] has 1 weights, should have 2, or be an object'], // prettier-ignore
  [{ cases: [{ ...merge, weights: [{ 0: null }] }] }, ': cases[0].weights[0].0 should be a number, is null'],
  [{ cases: [{ ...merge, tokens: [[1]] }] }, ': cases[0] should have both features and tokens, or neither'],
  [
    { cases: [{ ...merge, tokens: [[1]], features: [[1]] }] },
    ': cases[0].features has 1 rows, should have 2',
  ],
  [{ cases: [{ ...merge, tokens: [[1]], features: [[1, 2], [1, 2]] }] }, ': cases[0] has features of 2 channels, but tokens of 1'], // prettier-ignore
  [{ cases: [{ ...cut, positions: 'new' }] }, ': cases[0].positions should be one of original, contiguous, is "new"'], // prettier-ignore
  [{ cases: [{ ...cut, layers: [[1]] }] }, ': cases[0].layers[0] should be an object, is [1]'],
  [{ cases: [{ ...cut, name: 4 }] }, ': cases[0].name should be a text, is 4'],
])('%j is refused', (content, why) => {
  expect(() => checkCases(JSON.stringify(content), 'cases.json')).toThrow(new UserError(`cases.json${why}`));
});

test('what is no JSON is refused by line and column, as it was written', () => {
  expect(() => checkCases('{"cases": [NaN, x]}', 'f.json')).toThrow(
    new UserError('f.json is not JSON: line 1, column 17: unexpected "x"'),
  );
});
