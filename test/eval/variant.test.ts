import { expect, test } from 'vitest';
import { findMethod, methods } from '../../src/compress/registry.ts';
import { UserError } from '../../src/errors.ts';
import { cellName, planCells } from '../../src/eval/run/cell.ts';
import { joinNeeds } from '../../src/eval/run/needs.ts';
import { isPlain, keyOf, namesAll, parseVariants } from '../../src/eval/run/variant.ts';

test('a list of methods, each with options of its own', () => {
  const list = 'none, vtc-cls,vtc-cls:layers=1:positions=original,random:seed=4';
  const variants = parseVariants(list);
  expect(variants.map(({ name }) => name).join()).toBe(list.replace(' ', ''));
  expect(variants.map(({ series }) => series)).toEqual([
    'none',
    'vtc-cls',
    'vtc-cls:layers=1:positions=original',
    'random',
  ]);
  expect(variants[2]).toMatchObject({ methodOptions: { layers: 1, ensemble: 'sum' }, positions: 'original' });
  expect(variants[1]).toMatchObject({ methodOptions: { layers: 3 }, positions: 'contiguous' });
});

test('a method from a file is labelled by its name, and kept under that and the hash of the file', () => {
  const own = { ...methods[1], name: 'mine', digest: '0123abcd' };
  const find = (name: string) => findMethod(name, new Map([['./mine.ts', own]]));
  const [mine, stacked, builtIn] = parseVariants('./mine.ts:layers=1,./mine.ts+fastv,random', 1, find);
  expect([mine.name, stacked.name]).toEqual(['mine:layers=1', 'mine+fastv']);
  expect([mine, stacked, builtIn].map(keyOf)).toEqual([
    'mine:layers=1:0123abcd',
    'mine+fastv:0123abcd',
    'random',
  ]);
  expect(cellName({ variant: mine, budget: 9, pictures: 'own' })).toBe('mine.layers=1.0123abcd@9');
  expect(() => parseVariants('./mine.ts,./mine.ts', 1, find)).toThrow('--methods names mine twice');
});

test('an option that is said as it is anyway does not show in the name', () => {
  expect(parseVariants('random:seed=0:positions=contiguous')[0].name).toBe('random');
});

test.each([
  ['vtc', /^unknown method "vtc": choose /],
  ['', /^unknown method "": choose /],
  ['vtc-cls:layers', '--methods vtc-cls:layers: "layers" should be name=value'],
  ['vtc-cls:=3', '--methods vtc-cls:=3: "=3" should be name=value'],
  ['random:heads=3', 'method random has no option "heads" (its options: seed)'],
  ['vtc-cls:positions=mixed', '--methods vtc-cls:positions=mixed: positions are contiguous or original'],
  ['random,none,random:seed=0', '--methods names random twice'],
])('--methods %s is refused', (list, message) => {
  expect(() => parseVariants(list)).toThrow(message);
  expect(() => parseVariants(list)).toThrow(UserError);
});

test('seeds are given to the methods that take one, and not where one is given', () => {
  const names = (list: string, seeds: number) => parseVariants(list, seeds).map(({ name }) => name);
  expect(names('none,random,uniform', 3)).toEqual([
    'none',
    'random',
    'random:seed=1',
    'random:seed=2',
    'uniform',
  ]);
  expect(names('random:seed=7', 3)).toEqual(['random:seed=7']);
  expect(names('random,random:seed=1', 2)).toEqual(['random', 'random:seed=1']);
  expect(names('random:positions=original', 2)).toEqual([
    'random:positions=original',
    'random:seed=1:positions=original',
  ]);
  expect(() => names('random,random:seed=0', 3)).toThrow('--methods names random twice');
});

test('all stands for every method of the registry', () => {
  expect(parseVariants('all').map(({ name }) => name)).toEqual(methods.map(({ name }) => name));
  expect(namesAll('none, all')).toBe(true);
  expect(namesAll('none')).toBe(false);
  expect(parseVariants('vtc-cls:layers=1,random:seed=1').map(isPlain)).toEqual([false, true]);
});

test('every method at every budget; none once, and as the baselines', () => {
  const cells = planCells(parseVariants('none,uniform,random:seed=1'), [8, 2], 16);
  expect(cells.map(cellName)).toEqual([
    'none@16',
    'none@16-grey',
    'none@16-wrong',
    'uniform@8',
    'uniform@2',
    'random.seed=1@8',
    'random.seed=1@2',
  ]);
});

test('what all methods ask for is asked once', () => {
  const asks = [{ clsAttention: [2] }, {}, { clsAttention: [1, 2], attention: [0] }, { keys: [3] }];
  expect(joinNeeds(asks)).toEqual({ clsAttention: [2, 1], attention: [0], keys: [3], hidden: [] });
});
