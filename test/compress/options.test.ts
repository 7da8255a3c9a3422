import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseBudget } from '../../src/compress/budget.ts';
import { findMethod, methodOptions, methods } from '../../src/compress/registry.ts';
import { UserError } from '../../src/errors.ts';

const P = 576;

test.each([
  ['1', 1],
  ['144', 144],
  ['576', 576],
  [' 64 ', 64],
  ['007', 7],
  ['1.0', 576],
  ['0.25', 144],
  ['.5', 288],
  ['0.001', 1],
  ['25%', 144],
  ['12.5%', 72],
  ['100%', 576],
  ['1%', 6],
])('--keep %j of 576 patches keeps %i', (keep, U) => {
  expect(parseBudget(keep, P)).toBe(U);
});

test.each([
  ['0', 'keeps 0 of 576 patches'],
  ['0.0', 'keeps 0 of 576 patches'],
  ['0%', 'keeps 0 of 576 patches'],
  ['0.0001', 'keeps 0 of 576 patches'],
  ['577', "is more than the picture's 576 patches"],
  ['1.5', "is more than the picture's 576 patches"],
  ['101%', "is more than the picture's 576 patches"],
  ['', 'is not a number of patches'],
  ['-1', 'is not a number of patches'],
  ['+1', 'is not a number of patches'],
  ['1e2', 'is not a number of patches'],
  ['0x10', 'is not a number of patches'],
  ['5.', 'is not a number of patches'],
  ['25 %', 'is not a number of patches'],
  ['NaN', 'is not a number of patches'],
  ['Infinity', 'is not a number of patches'],
  ['half', 'is not a number of patches'],
  ['1,5', 'is not a number of patches'],
])('--keep %j of 576 patches is refused: %s', (keep, why) => {
  const sentence = `--keep ${keep}: ${why}; give 1 to 576 patches, a ratio such as 0.25 or 25%`;
  expect(() => parseBudget(keep, P)).toThrow(new UserError(sentence));
});

test('a count, its percentage and its ratio are one budget', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5000 }), fc.nat(), (patches, n) => {
      const U = 1 + (n % patches);
      expect(parseBudget(String(U), patches)).toBe(U);
      expect(parseBudget((U / patches).toFixed(6), patches)).toBe(U);
      expect(parseBudget(`${((100 * U) / patches).toFixed(6)}%`, patches)).toBe(U);
    }),
  );
});

test('any text is a budget between 1 and P, or a UserError', () => {
  const texts = fc.oneof(fc.string(), fc.stringMatching(/^[0-9.%]{1,6}$/));
  fc.assert(
    fc.property(texts, fc.integer({ min: 1, max: 600 }), (keep, patches) => {
      try {
        const U = parseBudget(keep, patches);
        expect(Number.isInteger(U) && U >= 1 && U <= patches).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(UserError);
      }
    }),
    { numRuns: 300 },
  );
});

test('each method is found by its name, which is its own, and every default is explained', () => {
  for (const method of methods) {
    expect(findMethod(method.name)).toBe(method);
    expect(methodOptions(method, {})).toEqual(method.defaults);
    expect(Object.keys(method.help)).toEqual(Object.keys(method.defaults));
    for (const [name, { choices }] of Object.entries(method.help)) {
      if (choices) expect(choices).toContain(method.defaults[name]);
    }
  }
  expect(new Set(methods.map(({ name }) => name)).size).toBe(methods.length);
});

test('the defaults are those of the papers, the released code or the figures that are shown', () => {
  const withOptions = methods.filter(({ defaults }) => Object.keys(defaults).length > 0);
  expect(Object.fromEntries(withOptions.map(({ name, defaults }) => [name, defaults]))).toEqual({
    'vtc-cls': { layers: 3, ensemble: 'sum' },
    'hired': { thumbnail: 0.5 },
    'random': { seed: 0 },
    'uniform': { pattern: 'grid' },
    'fopru': { strategy: 'rank' },
    'vispruner': { share: 0.5 },
    'hybrid': { share: 0.5, layers: 3 },
    'visionzip': { contextual: 10 / 64, cls: 'keep' },
    'prumerge': { count: 'budget', neighbours: 32 },
    'prumerge+': { count: 'budget', neighbours: 32 },
    'dpc-knn': { neighbours: 5 },
    'pooling': { pattern: 'grid' },
    'fastv': { layer: 2, rows: 'last' },
    'random-in-depth': { layer: 2, seed: 0 },
    'vtw': { layer: 0 },
    'pyramiddrop': { stages: 4 },
    'llavolta': { layer: 2 },
    'sparsevlm': { recycle: 0.3 },
    'yopo': { window: 5, heads: '', ffn: 2, layer: 0, mask: 'release' },
  });
});

test('an unknown method is refused with those there are', () => {
  expect(() => findMethod('vtc')).toThrow(/^unknown method "vtc": choose .*vtc-cls/);
  expect(() => findMethod('vtc')).toThrow(UserError);
});

test('given options stand in place of the defaults, which stay as they are', () => {
  const method = findMethod('vtc-cls');
  const defaults = { ...method.defaults };
  expect(methodOptions(method, { layers: '7' })).toEqual({ ...defaults, layers: 7 });
  expect(methodOptions(method, { ensemble: 'rank-mean' })).toEqual({ ...defaults, ensemble: 'rank-mean' });
  expect(method.defaults).toEqual(defaults);
});

test.each([
  ['vtc-cls', { heads: '3' }, 'method vtc-cls has no option "heads" (its options: layers, ensemble)'],
  ['vtc-cls', { toString: '3' }, 'method vtc-cls has no option "toString" (its options: layers, ensemble)'],
  ['none', { layers: '3' }, 'method none has no option "layers" (its options: none)'],
  ['vtc-cls', { layers: 'three' }, '--layers three: is not a number'],
  ['vtc-cls', { layers: '' }, '--layers : is not a number'],
  ['vtc-cls', { layers: 'Infinity' }, '--layers Infinity: is not a number'],
  ['vtc-cls', { ensemble: 'median' }, '--ensemble median: choose sum, mean, max, min, rank-mean'],
])('%s with %j is refused: %s', (name, given, message) => {
  const options = given as unknown as Record<string, string>;
  expect(() => methodOptions(findMethod(name), options)).toThrow(new UserError(message));
});
