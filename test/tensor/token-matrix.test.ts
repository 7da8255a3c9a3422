/** W, what a method chooses, against float64. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  applyMatrix,
  denseOf,
  fatesOf,
  identity,
  keepToken,
  matrixOf,
  meanOf,
  multiply,
  pickedBy,
  picking,
  withCls,
  type Row,
  type TokenMatrix,
} from '../../src/tensor/token-matrix.ts';
import { describeEachBackend } from '../support/backends.ts';
import {
  axis,
  draw,
  expectEqual,
  expectNear,
  expectNewTensors,
  randoms,
  tidyEachTest,
} from '../support/random.ts';

const runs = { numRuns: 40 };

/** Any W: rows of no, one and several weights. */
const matrices = fc
  .record({ random: randoms, B: axis(3), U: axis(6), P: axis(7) })
  .map(({ random, B, U, P }) => {
    const row = (): Row =>
      new Map(
        [...Array(P).keys()].filter(() => random() > 0.2).map((token): [number, number] => [token, random()]),
      );
    const rows = Array.from({ length: B }, () => Array.from({ length: U }, row));
    return { random, W: matrixOf(rows, P) };
  });

const product = ({ rows }: TokenMatrix, X: number[][][]): number[][][] =>
  rows.map((picture, b) =>
    picture.map((row) =>
      X[b][0].map((_, d) => [...row].reduce((sum, [token, weight]) => sum + weight * X[b][token][d], 0)),
    ),
  );

describeEachBackend('a token matrix', () => {
  tidyEachTest();

  test('W·X is its float64 twin’s, whatever its rows hold, and its dense form’s', () => {
    fc.assert(
      fc.property(matrices, ({ random, W }) => {
        const [B, , P] = W.shape;
        const X = draw(random, [B, P, 3]);
        const applied = applyMatrix(W, tf.tensor3d(X));
        expectNear(applied, product(W, X), 'W·X');
        expectNear(tf.matMul(denseOf(W), tf.tensor3d(X)), applied.arraySync(), 'dense');
      }),
      runs,
    );
  });

  test('a W that picks takes its tokens as they are, in their own order', () => {
    fc.assert(
      fc.property(randoms, axis(3), axis(9), axis(9), (random, B, P, U) => {
        const X = draw(random, [B, P, 2]);
        const kept = draw(random, [B, U]).map((row) => [
          ...new Set(row.map((x) => Math.floor(((x + 1) / 2) * P))),
        ]);
        const n = Math.min(...kept.map((row) => row.length));
        const W = picking(
          kept.map((row) => row.slice(0, n)),
          P,
        );
        expect(pickedBy(W)).toEqual(kept.map((row) => row.slice(0, n).sort((a, b) => a - b)));
        expectEqual(applyMatrix(W, tf.tensor3d(X)), tf.tensor3d(product(W, X)), 'picked');
        expectEqual(applyMatrix(identity(B, P), tf.tensor3d(X)), tf.tensor3d(X), 'identity');
      }),
      runs,
    );
  });

  test('a W of no rows makes no tokens', () => {
    expect(applyMatrix(picking([[], []], 4), tf.ones([2, 4, 3])).shape).toEqual([2, 0, 3]);
  });

  test('only the result is left in memory', async () => {
    const X = tf.ones([1, 4, 3]) as tf.Tensor3D;
    await expectNewTensors(1, 'a pick', () => applyMatrix(picking([[1, 2]], 4), X));
    await expectNewTensors(1, 'a merge', () => applyMatrix(matrixOf([[meanOf([0, 3])]], 4), X));
    await expectNewTensors(0, 'of another width', () => applyMatrix(picking([[1]], 5), X), true);
  });
});

test('W₂·W₁ is what one makes of what the other made', () => {
  fc.assert(
    fc.property(matrices, fc.nat(), ({ random, W: before }, n) => {
      const [B, U] = before.shape;
      const rows = Array.from(
        { length: B },
        () =>
        Array.from({ length: 1 + (n % U) }, (): Row => new Map([[n % U, random()], [(n + 1) % U, random()]])), // prettier-ignore
      );
      const after = matrixOf(rows, U);
      const [, , P] = before.shape;
      const X = draw(random, [B, P, 2]);
      const [once, twice] = [product(multiply(after, before), X), product(after, product(before, X))];
      for (const [b, picture] of once.entries()) {
        for (const [u, row] of picture.entries())
          for (const [d, x] of row.entries()) expect(x).toBeCloseTo(twice[b][u][d], 12);
      }
    }),
    runs,
  );
});

test('a token is kept where its row is a single 1, and made otherwise; a patch is where it weighs most', () => {
  const W = matrixOf([[keepToken(2), new Map([[0, 0.25], [3, 0.75]]), new Map([[0, 0.5]]), new Map([[3, 0.75]])]], 5); // prettier-ignore
  expect(fatesOf(W)).toEqual([{ kept: [2], made: 3, groups: [2, -1, 0, 1, -1] }]);
  expect(fatesOf(withCls(W, 1))).toEqual([{ kept: [2], made: 4, groups: [3, -1, 1, 2, -1] }]);
  expect(pickedBy(W)).toBeUndefined();
});

test('pictures of one batch have equally many rows', () => {
  expect(() => picking([[1, 2], [1]], 4)).toThrow('W has 2, 1 rows: every picture needs equally many');
});
