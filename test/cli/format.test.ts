import { describe, expect, test } from 'vitest';
import { formatBytes, formatCount, formatShape, formatTable } from '../../src/report/format.ts';

describe('numbers for people', () => {
  test.each([
    [0, '0'],
    [999, '999'],
    [1000, '1.00 k'],
    [1_234_567, '1.23 M'],
    [12_345, '12.3 k'],
    [999_499, '999 k'],
    [999_999, '1.00 M'],
    [7e12, '7.00 T'],
    [7e15, '7000 T'],
  ])('%d is %s', (value, text) => expect(formatCount(value)).toBe(text));

  test.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.00 KiB'],
    [1000 * 1024, '1000 KiB'],
    [1024 ** 2 - 1, '1.00 MiB'],
    [1.5 * 1024 ** 3, '1.50 GiB'],
  ])('%d bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));
});

test('a shape is told with its letters, a fixed axis without', () => {
  expect(formatShape('B S S 3', [2, 24, 24, 3])).toBe('[B=2 S=24 S=24 3]');
});

test('a table has columns as wide as their widest cell, numbers to the right', () => {
  const rows = [
    ['name', 'size'],
    ['a', '5'],
    ['longer', '12345'],
  ];
  expect(formatTable(rows, [1])).toBe('name     size\na           5\nlonger  12345');
  expect(formatTable(rows)).toBe('name    size\na       5\nlonger  12345');
});
