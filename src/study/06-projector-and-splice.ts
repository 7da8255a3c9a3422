/**
 * 6. Projector and splice: how does the picture get into the prompt?
 *
 *     Z = gelu(F'·W₁ + b₁)·W₂ + b₂              [U, D] → [U, E], each token by itself
 *     X = [text before | Z | text after]        [T, E]
 *
 * The decoder knows words as rows of width E. The projector makes rows of that width of visual tokens, and they stand in
 * the prompt where the picture stands. From here on a visual token is as good as a word, and costs as much.
 * Look for: T, and the positions.
 */
import * as tf from '@tensorflow/tfjs-core';
import { spliceImage } from '../decoder/splice.ts';
import { project } from '../projector.ts';
import { linear } from '../tensor/linear.ts';
import { agree, ask, compressBy, llava, pixelsOf, print, scene, tokenizer } from './desk.ts';

const { decoder, projector } = llava;
const { F, tokens, kept } = await compressBy('vtc-cls', pixelsOf(scene), { budget: 25 });
print('F', F, "F'", tokens);
//> F  [1, 100, 96]  F'  [1, 25, 96]

// Two matrices, and gelu(x) = x/2·(1 + erf(x/√2)) between them.
function projectByHand(features: tf.Tensor3D): tf.Tensor3D {
  const inner = linear(projector.weights.linear_1, features); // x·W + b
  const gelu: tf.Tensor3D = tf.mul(tf.mul(inner, 0.5), tf.add(tf.erf(tf.mul(inner, Math.SQRT1_2)), 1));
  return linear(projector.weights.linear_2!, gelu);
}
const Z = projectByHand(tokens);
print('Z', Z);
//> Z  [1, 25, 128]
await agree('project', Z, project(projector, tokens));
//> ✓  project

// No token looks at another here, so pruning may come first, and the projector works for U tokens only.
await agree('prune, project = project, prune', Z, tf.gather(projectByHand(F), kept![0], 1));
//> ✓  prune, project = project, prune

// The prompt in words, in token ids, and as rows of the decoder's table.
const prompt = ask('what letter is there ?');
print('before', prompt.before, `"${tokenizer.decode(prompt.before)}"`);
//> before  1 5  "USER:"
print('after', prompt.after, `"${tokenizer.decode(prompt.after)}"`);
//> after  14 18 19 23 7 6  "what letter is there ? ASSISTANT:"
const table = decoder.weights.embed_tokens as tf.Tensor2D;
const [before, after] = [prompt.before, prompt.after].map((ids) => tf.gather(table, ids));
print('table [V, E]', table, 'before', before, 'after', after);
//> table [V, E]  [62, 128]  before  [2, 128]  after  [6, 128]

// Side by side they are what the decoder reads.
const X = tf.concat([before, tf.squeeze(Z, [0]), after], 0);
print('X', X);
//> X  [33, 128]
const cut = spliceImage(decoder, [prompt], Z);
const uncut = spliceImage(decoder, [prompt], project(projector, F));
await agree('spliceImage', X, cut.hidden);
//> ✓  spliceImage
print('T', uncut.hidden.shape[1], 'uncut,', cut.hidden.shape[1], 'now');
//> T  108  uncut,  33  now

// Positions count on as if the dropped tokens had never been. Where in the picture a token stood, the decoder now knows
// only by what the tower put into it (chapter 1's positions), and by its order among the others.
const places = [cut, uncut].map(async ({ positions }) =>
  [...(await positions.data())].slice(-prompt.after.length),
);
print('positions of the text after the picture', await places[0]);
//> positions of the text after the picture  27 28 29 30 31 32
print('and uncut', await places[1]);
//> and uncut  102 103 104 105 106 107

/*
 * Exercises
 * 1. Let every token keep the position it had in the uncut prompt, gaps and all ("original" positions). At which position
 *    is the answer written then?
 * 2. Keep all, U = P. Does VTC-CLS now change anything, to the last bit?
 */
