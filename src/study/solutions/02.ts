/** Solutions of chapter 2, one layer by hand. */
import * as tf from '@tensorflow/tfjs-core';
import { splitHeads } from '../../tensor/attention.ts';
import { linear, type Linear } from '../../tensor/linear.ts';
import { layerNorm } from '../../tensor/norm.ts';
import { clipBlock } from '../../vision/block.ts';
import { runClipVision } from '../../vision/clip.ts';
import { agree, check, distance, llava, pixelsOf, print, scene } from '../desk.ts';

const { config, weights } = llava.vision;
const [D, H, C] = [96, 4, 24];
const layer = weights.layers[3];
const input = runClipVision(llava.vision, pixelsOf(scene), { hidden: [3] }).hidden.get(3)!;

// 1. Attention with and without √C: the mean over heads of the largest number in the [CLS] row.
const normed = layerNorm(layer.layer_norm1, input, config.layer_norm_eps);
const [q, k] = [layer.self_attn.q_proj, layer.self_attn.k_proj].map((w) => splitHeads(linear(w, normed), H));
const scores = tf.matMul(q, k, false, true); // [1, H, N, N]
const largest = async (divisor: number) => {
  const rows = tf.slice(tf.softmax(tf.div(scores, divisor)), [0, 0, 0, 0], [1, H, 1, -1]);
  return (await tf.mean(tf.max(rows, -1)).data())[0];
};
const [scaled, unscaled] = [await largest(Math.sqrt(C)), await largest(1)];
print('largest with √C', scaled, 'without', unscaled);
//> largest with √C  0.541  without  0.999
check('without √C it takes nearly all', scaled < 0.8 && unscaled > 0.9);
//> ✓  without √C it takes nearly all
// Near 1 a softmax picks instead of weighing, and its gradient is near 0: nothing could be learned. A dot product of C independent numbers of
// variance 1 has variance C: at C = 128 scores would be 11 times too large, here they are √24, nearly 5 times.

// 2. Heads change places: the columns of Q, K and V, and the rows of W_o, in blocks of C.
const order = [2, 0, 3, 1].flatMap((h) => Array.from({ length: C }, (_, c) => h * C + c));
const columns = ({ weight, bias }: Linear): Linear => ({
  weight: tf.gather(weight as tf.Tensor2D, order, 1),
  bias: tf.gather(bias!, order),
});
const { q_proj, k_proj, v_proj, out_proj } = layer.self_attn;
const turned = { q_proj: columns(q_proj), k_proj: columns(k_proj), v_proj: columns(v_proj) };
const rows = { weight: tf.gather(out_proj.weight as tf.Tensor2D, order), bias: out_proj.bias };
const plain = clipBlock(layer, input, config).hidden;
const run = (out_proj: Linear) =>
  clipBlock({ ...layer, self_attn: { ...turned, out_proj } }, input, config).hidden;
await agree('heads have no order', run(rows), plain);
//> ✓  heads have no order
const broken = await distance(run(out_proj), plain);
print('with W_o as it was they differ by', broken);
//> with W_o as it was they differ by  0.0388
check('W_o knows which columns are whose', broken > 0.01);
//> ✓  W_o knows which columns are whose
check('all columns are there', new Set(order).size === D);
//> ✓  all columns are there
