/** Solutions of chapter 3, where [CLS] looks. */
import * as tf from '@tensorflow/tfjs-core';
import { keepTopK } from '../../compress/top-k.ts';
import { runClipVision } from '../../vision/clip.ts';
import { objectPatches } from '../../world/scene.ts';
import { agree, check, llava, nameObjects, pixelsOf, print, printMaps, scene } from '../desk.ts';

const [H, P] = [4, 100];
const { attention } = runClipVision(llava.vision, pixelsOf(scene), { attention: [3] });
const row = tf.slice(attention.get(3)!, [0, 0, 0, 0], [1, H, 1, 1 + P]); // the [CLS] row of each head
const s = await tf.mean(row, [0, 1, 2]).data<'float32'>(); // [N]
const onObject = objectPatches(scene, 8);
const hits = (patches: number[]) => patches.filter((p) => onObject[p]).length;

// 1. Ten of N numbers, and ten of P.
const [wrong] = keepTopK([s], 10);
const [right] = keepTopK([s.slice(1)], 10);
print('own column left in', wrong, 'on objects', hits(wrong));
//> own column left in  0 13 47 52 53 62 63 69 70 95  on objects  3
print('dropped           ', right, 'on objects', hits(right));
//> dropped             12 46 51 52 59 61 62 68 69 94  on objects  7
check('place i among N is patch i − 1', wrong.every((i) => i === 0 || right.includes(i - 1))); // prettier-ignore
//> ✓  place i among N is patch i − 1
check('fewer of them lie on objects', hits(wrong) < hits(right));
//> ✓  fewer of them lie on objects
// The shapes are right and some hits remain, since an object is two patches wide: such a mistake is easily overlooked.

// 2. The heads apart.
print(nameObjects(scene));
//> blue triangle, red triangle, pink cross, yellow h
const heads = await Promise.all(tf.unstack(tf.reshape(tf.slice(row, [0, 0, 0, 1], [1, H, 1, P]), [H, P])).map((head) => head.data<'float32'>())); // prettier-ignore
printMaps(...heads);
//> |                    |  |                    |  |    ..              |  |                    |
//> |    ..              |  |                    |  |    @@              |  |                    |
//> |                    |  |                    |  |                    |  |                    |
//> |                    |  |                    |  |                    |  |                    |
//> |                    |  |            ..      |  |            @@      |  |                    |
//> |  @@::              |  |  ....              |  |                    |  |                    |
//> |                    |  |                    |  |                    |  |                    |
//> |                    |  |                    |  |                    |  |                    |
//> |                    |  |                    |  |                    |  |                    |
//> |                    |  |        @@          |  |                    |  |        @@          |
for (const [h, head] of heads.entries()) {
  const seen = scene.objects.filter((object) => {
    const on = objectPatches({ objects: [object] }, 8);
    return head.reduce((sum, x, p) => sum + (on[p] ? x : 0), 0) > 0.05; // of the head's attention
  });
  print('head', h, 'takes more than 5 % from', nameObjects({ ...scene, objects: seen }));
  //> head  0  takes more than 5 % from  pink cross, yellow h
  //> head  1  takes more than 5 % from  blue triangle, yellow h
  //> head  2  takes more than 5 % from
  //> head  3  takes more than 5 % from  blue triangle
}
// Heads share the work, so one alone is blind to much. The mean sees what any of them sees strongly; which head says so
// does not matter to the choice, as it does not matter to [CLS], which adds up what all of them bring.
const mean = tf.mean(tf.stack(heads.map((head) => tf.tensor1d(head))), 0);
await agree('the mean of the heads', mean, s.slice(1));
//> ✓  the mean of the heads
