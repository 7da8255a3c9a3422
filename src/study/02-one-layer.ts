/**
 * 2. One layer by hand: what does a layer of the tower do?
 *
 *     X ← X + concat_h(softmax(Q·Kᵀ / √C)·V)·W_o + b_o        attention: rows ask each other
 *     X ← X + gelu(LN(X)·W₁ + b₁)·W₂ + b₂                      MLP: each row by itself
 *     with Q, K, V = LN(X)·W_q + b_q, …, split into H heads of width C = D / H
 *
 * Look for: the only place where rows meet is softmax(Q·Kᵀ / √C), N × N numbers a head, each row of which sums to 1.
 * The row of [CLS] says how much [CLS] takes from whom. VTC-CLS ranks the patches by that row.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Linear } from '../tensor/linear.ts';
import { layerNorm } from '../tensor/norm.ts';
import { clipBlock } from '../vision/block.ts';
import { embedImage } from '../vision/embeddings.ts';
import { agree, llava, pixelsOf, print, scene } from './desk.ts';

const { config, weights } = llava.vision;
const layer = weights.layers[0];
const input = embedImage(weights, pixelsOf(scene), config); // [1, N, D]
const [, N, D] = input.shape;
const H = config.num_attention_heads;
const C = D / H;
const X: tf.Tensor2D = tf.reshape(input, [N, D]);
print('X', X, 'heads', H, 'of width', C);
//> X  [101, 96]  heads  4  of width  24

// LayerNorm: each row to mean 0 and variance 1, then a learned scale and shift of every column.
const { weight, bias } = layer.layer_norm1;
const centred = tf.sub(X, tf.mean(X, 1, true));
const deviation = tf.sqrt(tf.add(tf.mean(tf.square(centred), 1, true), config.layer_norm_eps));
const normed: tf.Tensor2D = tf.add(tf.mul(tf.div(centred, deviation), weight), bias);
await agree('layerNorm', normed, layerNorm(layer.layer_norm1, X, config.layer_norm_eps));
//> ✓  layerNorm

// Queries say what a row looks for, keys what it offers to be found by, values what it gives.
const times = (x: tf.Tensor2D, { weight, bias }: Linear): tf.Tensor2D =>
  tf.add(tf.matMul(x, weight as tf.Tensor2D), bias!);
const { q_proj, k_proj, v_proj, out_proj } = layer.self_attn;
const [Q, K, V] = [q_proj, k_proj, v_proj].map((projection) => times(normed, projection)); // [N, D] each

// A head owns C columns of each. Dot products of C numbers spread like √C; undivided, they would drive softmax to nearly one-hot.
const heads = Array.from({ length: H }, (_, h) => {
  const [q, k, v] = [Q, K, V].map((x) => tf.slice(x, [0, h * C], [N, C]));
  const scores = tf.div(tf.matMul(q, k, false, true), Math.sqrt(C)); // [N, N]
  const powers = tf.exp(tf.sub(scores, tf.max(scores, 1, true))); // less the largest: the same quotient, no overflow
  const A: tf.Tensor2D = tf.div(powers, tf.sum(powers, 1, true)); // softmax
  return { A, mixed: tf.matMul(A, v) }; // [N, N], [N, C]
});
print('A of a head', heads[0].A, 'sum of its [CLS] row', (await tf.sum(heads[0].A, 1).data())[0]);
//> A of a head  [101, 101]  sum of its [CLS] row  1
print('A·V of a head', heads[0].mixed);
//> A·V of a head  [101, 24]

// The heads side by side, through one matrix, are added to what was there: a layer corrects X, it does not replace it.
const mixed = tf.concat(heads.map(({ mixed }) => mixed), 1) as tf.Tensor2D; // prettier-ignore
const attended: tf.Tensor2D = tf.add(X, times(mixed, out_proj));

// The MLP: D → 4·D → D, for each row alone. CLIP's gelu is x·σ(1.702·x).
const inner = times(layerNorm(layer.layer_norm2, attended, config.layer_norm_eps), layer.mlp.fc1);
print('inner', inner);
//> inner  [101, 384]
const output = tf.add(attended, times(tf.mul(inner, tf.sigmoid(tf.mul(inner, 1.702))), layer.mlp.fc2));

const theirs = clipBlock(layer, input, config, { attention: true });
await agree('attention', tf.stack(heads.map(({ A }) => A)), theirs.attention!); // [H, N, N]
//> ✓  attention
await agree('clipBlock', output, theirs.hidden);
//> ✓  clipBlock

/*
 * Exercises
 * 1. Leave the division by √C out. How much does the [CLS] row's largest number grow, and what would attention become in
 *    a model with C = 128?
 * 2. Hand the heads round: permute them in Q, K, V and in the rows of W_o alike. What changes? What if W_o stays?
 */
