/** Solutions of chapter 10, does it work, and doubt. */
import * as tf from '@tensorflow/tfjs-core';
import { findMethod } from '../../compress/registry.ts';
import { loadModel } from '../../node/checkpoint.ts';
import { shippedModel } from '../../node/shipped.ts';
import { check, compressBy, percent, pixelsOf, print } from '../desk.ts';
import { accuracy, examine, type Answered, type Change } from '../exam.ts';

const P = 100;

/** Fills the dropped places. @param blank of the kept tokens [B, U, D]: broadcast to [B, P, D] */
const fillWith =
  (blank: (kept: tf.Tensor3D) => tf.Tensor): Change =>
  ({ tokens, kept }) => {
    const ones = (row: number[]) =>
      Array.from({ length: P }, (_, p) => row.map((patch) => Number(patch === p)));
    const Wt = tf.tensor3d(kept!.map(ones)); // [B, P, U]
    const dropped = tf.sub(1, tf.sum(Wt, 2, true)); // [B, P, 1]
    return { tokens: tf.add(tf.matMul(Wt, tokens), tf.mul(dropped, blank(tokens))) };
  };
const empty = await compressBy('none', pixelsOf({ id: 'empty', objects: [], backgroundSeed: 1 }), {
  budget: P,
});
const ground = fillWith(() => empty.F);

const { llava: model } = await loadModel(shippedModel('llava-fixed'));
const method = findMethod('vtc-cls');
const exam = (budget: number, change?: Change) =>
  examine({ method, methodOptions: method.defaults, budget }, { scenes: 6, change, model });

// 1. Other fillings of 75 places.
const unfilled = accuracy(await exam(25));
const withGround = accuracy(await exam(25, ground));
const withZeros = accuracy(
  await exam(
    25,
    fillWith((kept) => tf.zeros([1, 1, kept.shape[2]])),
  ),
);
const withMean = accuracy(
  await exam(
    25,
    fillWith((kept) => tf.mean(kept, 1, true)),
  ),
);
print('25 of 100', percent(unfilled), 'ground', percent(withGround));
//> 25 of 100  86.0 %  ground  97.7 %
print('zeros', percent(withZeros), 'mean', percent(withMean));
//> zeros  2.3 %  mean  53.5 %
check('ground is the best filling', withGround > Math.max(unfilled, withZeros, withMean));
//> ✓  ground is the best filling
// Zeros and a mean of objects are no ground, and this decoder has never read them either: a control has to be something
// that the model could have met. That is why B is made of a picture and not of numbers.

// 2. Fewer and fewer.
for (const budget of [4, 2, 1]) {
  const answered = await exam(budget, ground);
  const of = (name: Answered['type']) => percent(accuracy(answered.filter(({ type }) => type === name)));
  print(budget, percent(accuracy(answered)), 'counting', of('count'), 'letter', of('letter'));
  //> 4  97.7 %  counting  83.3 %  letter  100.0 %
  //> 2  69.8 %  counting  66.7 %  letter  100.0 %
  //> 1  60.5 %  counting  66.7 %  letter  66.7 %
  if (budget === 1) check('one patch is not enough', accuracy(answered) < withGround - 0.1);
  //> ✓  one patch is not enough
}
// A patch is 8 pixels wide, an object 8 or 12, and no scene has more than four: four patches nearly do. With two and one,
// whole objects are gone. That is when the method fails: when there is more to see than U tokens hold, and when what the
// question asks for is nothing that [CLS] found worth a look.
