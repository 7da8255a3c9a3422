/**
 * 10. Does it work, and doubt: is what the accuracy lost what was thrown away?
 *
 *     F'' = Wᵀ·F' + (1 − Wᵀ·1)·B        [P, D]: a kept token where it stood, B where one was dropped
 *
 * A decoder trained on 100 visual tokens reads 25 and answers worse. Either what it needed was thrown away; or nothing was,
 * but a picture of 25 tokens is unlike all it has ever read. To tell these apart, fill the dropped places with blanks: B, the
 * features of a scene without objects. Again 100 tokens, and nothing more is said about this picture.
 * Look for: whose accuracy comes back.
 */
import * as tf from '@tensorflow/tfjs-core';
import { findMethod } from '../compress/registry.ts';
import { accuracy, examine, type Change } from './exam.ts';
import { agree, check, compressBy, percent, pixelsOf, print, scene } from './desk.ts';

// B: what the tower makes of a ground on which nothing stands.
const P = 100;
const empty = await compressBy('none', pixelsOf({ id: 'empty', objects: [], backgroundSeed: 1 }), {
  budget: P,
});
const B: tf.Tensor2D = tf.squeeze(empty.F, [0]);

const fill: Change = ({ tokens, kept }) => {
  const Wt = tf.tensor2d(Array.from({ length: P }, (_, p) => kept![0].map((patch) => (patch === p ? 1 : 0)))); // [P, U]
  const dropped = tf.sub(1, tf.sum(Wt, 1, true)); // [P, 1], 1 where nothing was kept
  const filled = tf.add(tf.matMul(Wt, tf.squeeze(tokens, [0])), tf.mul(dropped, B));
  return { tokens: tf.expandDims(filled, 0) };
};

// A filled picture is the uncut one at the kept places, and B elsewhere.
const picture = await compressBy('vtc-cls', pixelsOf(scene), { budget: 25 });
const { tokens } = fill(picture);
const { kept } = picture;
print("F'", picture.tokens, "F''", tokens, 'kept', kept![0]);
//> F'  [1, 25, 96]  F''  [1, 100, 96]  kept  3 4 8 9 18 37 50 51 52 53 54 55 56 60 62 70 72 80 81 84 85 86 91 93 95
await agree('F at the kept places', tf.gather(tokens, kept![0], 1), tf.gather(picture.F, kept![0], 1));
//> ✓  F at the kept places
await agree('B where they were dropped', tf.gather(tokens, [0, 99], 1), tf.gather(B, [0, 99]));
//> ✓  B where they were dropped

async function exam(name: string, budget: number, change?: Change): Promise<number> {
  const method = findMethod(name);
  const answered = await examine({ method, methodOptions: method.defaults, budget }, { scenes: 8, change });
  const counted = answered.filter(({ type }) => type === 'count');
  const title = `${name}, ${budget} of ${P}${change ? ', filled' : ''}`;
  print(title.padEnd(27), percent(accuracy(answered)), 'counting', percent(accuracy(counted)));
  //> none, 100 of 100             98.2 %  counting  100.0 %
  //> vtc-cls, 25 of 100           89.3 %  counting  37.5 %
  //> random, 25 of 100            60.7 %  counting  87.5 %
  //> vtc-cls, 25 of 100, filled   96.4 %  counting  100.0 %
  //> random, 25 of 100, filled    51.8 %  counting  50.0 %
  return accuracy(answered);
}

// 56 questions about 8 scenes. Does it work? Beside random, yes. Beside the uncut model it loses, and most in counting, where
// even random does better. If objects had been thrown away that would be odd.
const uncut = await exam('none', P);
const ours = await exam('vtc-cls', 25);
const chance = await exam('random', 25);

// Doubt: the same 25 tokens, and 75 blanks.
const oursFilled = await exam('vtc-cls', 25, fill);
const chanceFilled = await exam('random', 25, fill);
check('most of what VTC-CLS lost comes back', oursFilled - ours > (uncut - ours) / 2);
//> ✓  most of what VTC-CLS lost comes back
check('of what random lost, nothing does', chanceFilled <= chance);
//> ✓  of what random lost, nothing does

/*
 * Nearly nothing that mattered had been thrown away: VTC-CLS's loss was that of a decoder reading a prompt unlike those it
 * was trained on, with fewer tokens, other positions and more objects for each patch of ground. Random had thrown objects
 * away, and no blank brings them back. So an accuracy at U tokens measures two things, what a method keeps and how well a
 * decoder bears short pictures, and says little about another decoder. Filling is no method: it saves nothing.
 *
 * Exercises
 * 1. Fill with zeros, or with the mean of the kept tokens. Is any filling as good as bare ground?
 * 2. When does VTC-CLS itself fail? Keep 4, 2 and 1 patches and fill the rest. Where do objects begin to go?
 */
