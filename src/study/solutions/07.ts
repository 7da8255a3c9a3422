/** Solutions of chapter 7, read, and cut between layers. */
import * as tf from '@tensorflow/tfjs-core';
import { findMethod } from '../../compress/registry.ts';
import { cacheLengths } from '../../decoder/cache.ts';
import { prefill, runToken } from '../../decoder/generate.ts';
import { spliceImage } from '../../decoder/splice.ts';
import { prepare } from '../../plan.ts';
import { project } from '../../projector.ts';
import { agree, ask, check, compressBy, distance, llava, pixelsOf, print, scene } from '../desk.ts';

const { decoder, projector, config } = llava;
const prompt = ask('what letter is there ?');
const { F } = await compressBy('none', pixelsOf(scene), { budget: 100 });
const X = spliceImage(decoder, [prompt], project(projector, F));
const whole = await prefill(decoder, X, { maxNewTokens: 1 });

// 1. All but the last, then the last.
const T = X.nextPosition;
const shorter = {
  hidden: tf.slice(X.hidden, [0, 0, 0], [1, T - 1, -1]),
  positions: tf.slice(X.positions, [0, 0], [1, T - 1]),
  roles: [X.roles[0].slice(0, -1)],
  nextPosition: T - 1,
};
const session = await prefill(decoder, shorter, { maxNewTokens: 1 });
print('caches before', cacheLengths(session.cache));
//> caches before  107 107 107 107
const logits = await runToken(decoder, session, [prompt.after.at(-1)!]);
print('and after', cacheLengths(session.cache));
//> and after  108 108 108 108
await agree('one reading or two', logits, whole.logits);
//> ✓  one reading or two
// A row never sees what comes after it, so nothing about the earlier rows changes when one more arrives: that is what makes
// a cache possible. It spares work and changes no number.

// 2. FastV before layers 1, 2 and 3.
const apart: number[] = [];
for (const layer of [1, 2, 3]) {
  const fastv = { method: findMethod('fastv'), methodOptions: { layer, rows: 'last' }, budget: 25 };
  const cut = await prefill(decoder, X, { maxNewTokens: 1, hook: prepare(config, fastv).between!() });
  apart.push(await distance(cut.logits, whole.logits));
  print('k', layer, 'caches', cacheLengths(cut.cache), 'logits differ by', apart.at(-1));
  check('k layers hold all', cacheLengths(cut.cache).every((n, l) => n === (l < layer ? T : T - 75))); // prettier-ignore
  //> k  1  caches  108 33 33 33  logits differ by  0.0821
  //> ✓  k layers hold all
  //> k  2  caches  108 108 33 33  logits differ by  0.0406
  //> ✓  k layers hold all
  //> k  3  caches  108 108 108 33  logits differ by  0.0178
  //> ✓  k layers hold all
}
check('none of the cuts does much', Math.max(...apart) < 0.2);
//> ✓  none of the cuts does much
// By layer 1 this decoder has taken from the picture what the question wants. It has also paid for it.
