import fc from 'fast-check';
import { expect, test } from 'vitest';
import { shape, ShapeError } from '../../src/tensor/axes.ts';

test('the lengths of the axes come back under their letters', () => {
  fc.assert(
    fc.property(fc.nat(9), fc.nat(9), fc.nat(9), (B, N, D) => {
      expect(shape({ hidden: { shape: [B, N, D] } }, 'B N D')).toEqual({ B, N, D });
      expect(shape({ attention: { shape: [B, N, N] } }, 'B N N', { B })).toEqual({ B, N });
    }),
  );
});

const rows: [number[], string, Record<string, number>, string][] = [
  [[2, 3], 'B N D', {}, 'x is [2, 3], expected [B, N, D]'],
  [[2, 3, 4, 5], 'B N D', {}, 'x is [2, 3, 4, 5], expected [B, N, D]'],
  [[2, 3, 4], 'B N D', { D: 5 }, 'x is [2, 3, 4], expected [B, N, D] with D=5'],
  [[2, 3, 4], 'B N D', { B: 1, D: 4 }, 'x is [2, 3, 4], expected [B, N, D] with B=1, D=4'],
  [[2, 8, 9, 3], 'B S S 3', {}, 'x is [2, 8, 9, 3], expected [B, S, S, 3]'],
  [[2, 8, 8, 4], 'B S S 3', {}, 'x is [2, 8, 8, 4], expected [B, S, S, 3]'],
  [[], 'B', {}, 'x is [], expected [B]'],
];
test.each(rows)('%j is refused as %s with %j', (actual, spec, known, message) => {
  expect(() => shape({ x: { shape: actual } }, spec, known as never)).toThrow(new ShapeError(message));
});

test('the argument has the name it has at the caller', () => {
  expect(() => shape({ clsAttention: { shape: [1] } }, 'B H P')).toThrow(
    /^clsAttention is \[1\], expected \[B, H, P\]$/,
  );
});
