/** Solutions of chapter 1, pixels and patches. */
import * as tf from '@tensorflow/tfjs-core';
import { clipBlock } from '../../vision/block.ts';
import { cutPatches, embedImage } from '../../vision/embeddings.ts';
import { agree, check, distance, llava, pixelsOf, print, scene } from '../desk.ts';

const { config, weights } = llava.vision;
const [g, side, P] = [10, config.patch_size, 100];
const pixels = pixelsOf(scene);

// 1. Column by column: patch p is now the one of row p mod 10 and column ⌊p / 10⌋.
const rowWise = cutPatches(pixels, config); // [1, P, 192]
const turned = Array.from({ length: P }, (_, p) => (p % g) * g + Math.floor(p / g));
const columnWise = tf.gather(rowWise, turned, 1);
print('cutPatches finds out: they differ by', await distance(columnWise, rowWise));
//> cutPatches finds out: they differ by  1.19
const right = turned.filter((patch, p) => patch === p);
print('still right', right.length, 'on the diagonal:', right);
//> still right  10  on the diagonal:  0 11 22 33 44 55 66 77 88 99
check('a patch a row', right.length === g);
//> ✓  a patch a row
// Nothing else would have found out. All shapes are right, and each patch gets some position's row, only not its own.

// 2. Two patches of the picture change places: 13 shows the cross, 55 bare ground.
const order = Array.from({ length: P }, (_, p) => (p === 13 ? 55 : p === 55 ? 13 : p));
const swapped = joinPatches(tf.gather(rowWise, order, 1));
await agree('only two patches moved', tf.gather(cutPatches(swapped, config), order, 1), rowWise);
//> ✓  only two patches moved

/** The tower's layers 0 .. 3, with positions or with none. @returns [1, N, D] */
function look(picture: tf.Tensor4D, positions: tf.Tensor2D): tf.Tensor3D {
  const x = embedImage({ ...weights, position_embedding: positions }, picture, config);
  return weights.layers.slice(0, 4).reduce((x, layer) => clipBlock(layer, x, config).hidden, x);
}
const rows = [0, ...order.map((p) => 1 + p)]; // of [CLS] and the patches
const none: tf.Tensor2D = tf.zerosLike(weights.position_embedding);
await agree(
  'without positions: the rows swap',
  tf.gather(look(swapped, none), rows, 1),
  look(pixels, none),
  1e-4,
);
//> ✓  without positions: the rows swap
// Not even [CLS] knows that anything moved: to attention a picture without positions is a bag of patches.
const there = weights.position_embedding;
const moved = await distance(tf.gather(look(swapped, there), rows, 1), look(pixels, there));
print('with positions they differ by', moved);
//> with positions they differ by  0.122
check('with positions the tower sees it', moved > 0.01);
//> ✓  with positions the tower sees it

/** The inverse of cutPatches. */
function joinPatches(patches: tf.Tensor): tf.Tensor4D {
  const cells = tf.reshape(patches, [g, g, side, side * 3]); // row of patches, patch, row in patch, row's pixels
  return tf.reshape(tf.transpose(cells, [0, 2, 1, 3]), [1, g * side, g * side, 3]);
}
