/**
 * 1. Pixels and patches: how does a picture become tokens?
 *
 *     x_p = patch_p·W                                   each patch of 8 × 8 pixels, flattened, times one matrix
 *     X   = LayerNorm([cls; x_1; …; x_P] + positions)   N = 1 + P rows of width D
 *
 * A multimodal model is a tower that turns a picture into tokens, rows of numbers; a projector; and a decoder that reads them
 * beside the words. Most of the prompt is picture. Which of it can be left out? That is visual token compression, and VTC-CLS
 * lets one row of the tower's answer, [CLS], which stands for no patch. (The model here is a small one: see README.md.)
 * Look for: what is [CLS] made of, and how does a row know where its patch stood?
 */
import * as tf from '@tensorflow/tfjs-core';
import { layerNorm } from '../tensor/norm.ts';
import { runClipVision } from '../vision/clip.ts';
import { cutPatches, embedImage } from '../vision/embeddings.ts';
import { drawWorld } from '../world/draw.ts';
import { createScene } from '../world/scene.ts';
import { agree, distance, llava, pixelsOf, print, scene } from './desk.ts';

const { config, weights } = llava.vision;

// A picture is bytes, red green blue, row after row. The tower, a ViT, was trained on (byte / 255 − ½) / ½, from −1 to 1.
const picture = drawWorld(scene);
print('picture', `${picture.width} × ${picture.height}`, picture.data.length, 'bytes');
//> picture  80 × 80  19200  bytes
const byHand = [...picture.data].map((byte) => (byte / 255 - 0.5) / 0.5);
const pixels = pixelsOf(scene); // [B, S, S, 3]
await agree('preprocess', byHand, pixels);
//> ✓  preprocess

// Patch p stands in row ⌊p / 10⌋ and column p mod 10 of the grid, "raster order": as one reads a page.
const [g, side] = [10, config.patch_size];
const patches = Array.from({ length: g * g }, (_, p) => {
  const [y, x] = [Math.floor(p / g) * side, (p % g) * side];
  return tf.reshape(tf.slice(pixels, [0, y, x, 0], [1, side, side, 3]), [1, side * side * 3]);
});
const cut = tf.concat(patches, 0); // [P, 192]
print('patches', cut);
//> patches  [100, 192]
await agree('cutPatches', cut, cutPatches(pixels, config));
//> ✓  cutPatches

// One matrix for all of them. CLIP writes this as a convolution whose stride is as long as its kernel: the same product.
const W = weights.patch_embedding.weight as tf.Tensor2D;
const embedded = tf.matMul(cut, W); // [P, D]
print('W', W, 'patches·W', embedded);
//> W  [192, 96]  patches·W  [100, 96]

// [CLS] is a row of weights, learned once and the same for every picture: it has seen nothing yet.
const cls = tf.reshape(weights.class_embedding!, [1, config.hidden_size]);
const rows = tf.concat([cls, embedded], 0); // [N, D]
print('[CLS]', cls, 'all rows', rows);
//> [CLS]  [1, 96]  all rows  [101, 96]

// Attention does not know the order of rows, so each place adds a learned row of its own. The norm is chapter 2's.
const placed = tf.add(rows, weights.position_embedding);
const tokens = layerNorm(weights.pre_layrnorm!, placed, config.layer_norm_eps);
await agree('embedImage', tokens, embedImage(weights, pixels, config));
//> ✓  embedImage

// Two pictures: before the first layer their [CLS] rows are equal, after four layers they are not. What made them differ is
// attention, layer by layer: [CLS] asks all patches and adds up what they answer. (Differences: relative to the largest entry.)
const { hidden } = runClipVision(llava.vision, pixelsOf(scene, createScene('test', 2)), { hidden: [0, 4] });
for (const layer of [0, 4]) {
  const [one, other] = tf.unstack(hidden.get(layer)!); // [N, D] of each picture
  const clsOf = (x: tf.Tensor) => tf.slice(x, [0, 0], [1, config.hidden_size]);
  print(`hidden[${layer}]: [CLS] of two pictures differ by`, await distance(clsOf(one), clsOf(other)));
  //> hidden[0]: [CLS] of two pictures differ by  0
  //> hidden[4]: [CLS] of two pictures differ by  0.87
}

/*
 * Exercises
 * 1. Cut the patches column by column instead of row by row. Which line finds out? How many patches still stand right?
 * 2. Leave the positions out and swap two patches of the picture. What of the tower's output changes, besides the swap?
 *    Then put the positions back.
 */
