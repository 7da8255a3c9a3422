/** Solutions of chapter 5, one matrix. */
import * as tf from '@tensorflow/tfjs-core';
import { descending, without } from '../../compress/host.ts';
import { prefill } from '../../decoder/generate.ts';
import { spliceImage } from '../../decoder/splice.ts';
import { project } from '../../projector.ts';
import {
  applyMatrix,
  firstOf,
  keepToken,
  matrixOf,
  meanOf,
  type TokenMatrix,
} from '../../tensor/token-matrix.ts';
import { askScene } from '../../world/questions.ts';
import {
  agree,
  ask,
  check,
  compressBy,
  distance,
  llava,
  pixelsOf,
  print,
  scene,
  tokenizer,
} from '../desk.ts';

const [P, U] = [100, 25];
const { F, W, kept, scores } = await compressBy('vtc-cls', pixelsOf(scene), { budget: U });

/** The logits of the answer's first word. */
async function answer(question: string, W: TokenMatrix): Promise<Float32Array> {
  const Z = project(llava.projector, applyMatrix(W, F));
  const X = spliceImage(llava.decoder, [ask(question)], Z);
  const { logits } = await prefill(llava.decoder, X, { maxNewTokens: 1 });
  return logits.data<'float32'>();
}

// 1. The same rows in the order of their scores.
const byScore = matrixOf([descending(scores![0]).slice(0, U).map(keepToken)], P);
check(
  'the same patches',
  byScore.rows[0].every((row) => kept![0].includes(firstOf(row))),
);
//> ✓  the same patches
const wordOf = (logits: Float32Array) => tokenizer.decode([descending(logits)[0]]);
const apart: number[] = [];
for (const { question } of askScene(scene)) {
  const [raster, sorted] = [await answer(question, W), await answer(question, byScore)];
  apart.push(await distance(sorted, raster));
  print(question, wordOf(raster), wordOf(sorted), apart.at(-1));
  //> what color is the large cross ?  pink  pink  0.218
  //> what shape is the red object ?  triangle  triangle  0.0918
  //> what size is the cross ?  large  large  0.129
  //> is there a small red square ?  no  no  0.0516
  //> how many shapes are there ?  three  three  0.249
  //> where is the small blue triangle ?  lower-left  lower-left  0.111
  //> is the small blue triangle above or below the yellow letter ?  below  below  0.324
  //> what letter is there ?  h  h  0.129
}
check('every answer heard it', Math.min(...apart) > 0.01);
//> ✓  every answer heard it
// The decoder turns each row by its position in the prompt: rows in another order are rows elsewhere.

// 2. A 26th row of all that were dropped.
const dropped = without(P, kept![0]);
const nothingLost = matrixOf([[...W.rows[0], meanOf(dropped)]], P);
print('columns in use', new Set(nothingLost.rows[0].flatMap((row) => [...row.keys()])).size, 'of', P);
//> columns in use  100  of  100
const [p, q] = dropped;
const order = Array.from({ length: P }, (_, i) => (i === p ? q : i === q ? p : i));
const swapped = tf.gather(F, order, 1);
print('patches', [p, q], 'swapped in F: F differs by', await distance(swapped, F));
//> patches  0 1  swapped in F: F differs by  0.0674
await agree("F' knows nothing of it", applyMatrix(nothingLost, swapped), applyMatrix(nothingLost, F));
//> ✓  F' knows nothing of it
// Every patch still counts for 1 / 75, but 75 rows became one: what is left of them is their sum.
