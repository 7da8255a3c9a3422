/**
 * 5. One matrix: what do pruning and merging have in common?
 *
 *     F' = W·F            [U, D] = [U, P]·[P, D]
 *
 * Every method that cuts before the decoder chooses a W over the P features F. Pruning: each row holds a single 1. Merging: a row
 * holds several weights. What no row touches is thrown away; what one row mixes can never be told apart again.
 * Look for: the rows of three methods' W, and how much of W lies outside the largest entry of each row.
 */
import * as tf from '@tensorflow/tfjs-core';
import { mean } from '../eval/task/score.ts';
import { applyMatrix, denseOf, matrixOf, meanOf, multiply, type Row } from '../tensor/token-matrix.ts';
import { agree, compressBy, percent, pixelsOf, print, scene } from './desk.ts';

const [P, U] = [100, 25];
const pixels = pixelsOf(scene);

// Pruning by hand: row u is 0 but for a 1 in the column of the u-th kept patch.
const pruned = await compressBy('vtc-cls', pixels, { budget: U });
const kept = pruned.kept![0]; // of the one picture
print('kept', kept);
//> kept  2 5 6 7 9 10 12 13 14 15 16 17 19 25 29 39 46 49 51 52 59 61 62 94 99
const W = tf.tensor2d(kept.map((patch) => Array.from({ length: P }, (_, p) => (p === patch ? 1 : 0))));
const F: tf.Tensor2D = tf.squeeze(pruned.F, [0]);
const product = tf.matMul(W, F);
print('W', W, 'F', F, 'W·F', product);
//> W  [25, 100]  F  [100, 96]  W·F  [25, 96]
await agree('F′ of vtc-cls', product, pruned.tokens);
//> ✓  F′ of vtc-cls
// Nearly all of W is 0, so nobody multiplies: where each row is a single 1, its patch is picked.
await agree('W·F = F[kept]', product, tf.gather(F, kept));
//> ✓  W·F = F[kept]
// Merging is the same product with other rows. A row as a sum of patches:
const write = (row: Row) => {
  const terms = [...row].map(([p, weight]) => `${Number(weight.toPrecision(2))}·F${p}`);
  return terms.slice(0, 4).join(' + ') + (terms.length > 4 ? ` + … (${terms.length})` : '');
};
const sumOf = (row: Row) => [...row.values()].reduce((sum, weight) => sum + weight, 0);
for (const name of ['vtc-cls', 'pooling', 'prumerge']) {
  const { W, tokens } = await compressBy(name, pixels, { budget: U });
  await agree(name, tf.matMul(tf.squeeze(denseOf(W), [0]) as tf.Tensor2D, F), tokens);
  const [rows] = W.rows;
  const columns = new Set(rows.flatMap((row) => [...row.keys()]));
  const rest = rows.map((row) => 1 - Math.max(...row.values()) / sumOf(row)).slice(0, -1); // of 24 rows
  print(
    `  ${columns.size} of ${P} columns in use, weight outside a row's largest entry`,
    percent(mean(rest)),
  );
  print(`  first: ${write(rows[0])}`);
  print(`  last:  ${write(rows.at(-1)!)}, a sum of ${Number(sumOf(rows.at(-1)!).toPrecision(2))}`);
  //> ✓  vtc-cls
  //>   25 of 100 columns in use, weight outside a row's largest entry  0.0 %
  //>   first: 1·F2
  //>   last:  1·F99, a sum of 1
  //> ✓  pooling
  //>   100 of 100 columns in use, weight outside a row's largest entry  75.0 %
  //>   first: 0.25·F0 + 0.25·F1 + 0.25·F10 + 0.25·F11
  //>   last:  0.25·F88 + 0.25·F89 + 0.25·F98 + 0.25·F99, a sum of 1
  //> ✓  prumerge
  //>   100 of 100 columns in use, weight outside a row's largest entry  8.3 %
  //>   first: 1·F2 + 0.073·F12 + 0.000026·F3 + 0.0000063·F31 + … (33)
  //>   last:  0.0000063·F0 + 0.0000056·F1 + 0.0000056·F4 + 0.0000032·F5 + … (76), a sum of 0.00039
}
// Pooling forgets no patch and cannot tell two patches of one cell apart. PruMerge touches every column, but its first 24 rows
// mix little; the last sums up what they left, weighed by [CLS]: very little, the weights do not sum to 1, the row is no mean.
// One choice after another is a product of matrices: keep 25, then take the mean of each five of them.
const fives = [0, 5, 10, 15, 20].map((first) => meanOf([0, 1, 2, 3, 4].map((i) => first + i)));
const after = matrixOf([fives], U); // W₂ [5, 25]
const both = tf.matMul(tf.squeeze(denseOf(after), [0]) as tf.Tensor2D, W); // W₂·W₁
await agree('W₂·W₁', both, denseOf(multiply(after, pruned.W)));
//> ✓  W₂·W₁
await agree('(W₂·W₁)·F = W₂·(W₁·F)', tf.matMul(both, F), applyMatrix(after, pruned.tokens));
//> ✓  (W₂·W₁)·F = W₂·(W₁·F)
/*
 * Exercises
 * 1. Forget to restore raster order: leave W's rows in the order of the scores. F' holds the same rows, so does the
 *    decoder say the same? (Chapter 6 says where order goes.)
 * 2. Throw nothing away: give W a 26th row, the mean of all patches that are not kept. Now swap two of those patches in F.
 *    What does F' know of it?
 */
