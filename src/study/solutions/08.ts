/** Solutions of chapter 8, your own method. */
import * as tf from '@tensorflow/tfjs-core';
import { ensembles } from '../../compress/ensemble.ts';
import { readPictures } from '../../compress/host.ts';
import type { Method, Seen } from '../../compress/method.ts';
import { findMethod } from '../../compress/registry.ts';
import { scoreByCls } from '../../compress/score.ts';
import { keepBest } from '../../compress/top-k.ts';
import { ensembledLayers } from '../../compress/vtc-cls.ts';
import { check, percent, print } from '../desk.ts';
import { accuracy, examine } from '../exam.ts';

/** A method that keeps the best of a score made of what VTC-CLS needs. @param score [B, P] */
const scoring = (name: string, score: (seen: Seen, s: tf.Tensor2D) => tf.Tensor): Method => ({
  name,
  paper: 'ours, of chapter 8',
  summary: 'an exercise',
  stages: ['before'],
  defaults: {},
  help: {},
  prepare: (source, budget) => ({
    needs: { clsAttention: ensembledLayers(source, 3) }, // without it the map in `seen` would be empty
    async choose(seen) {
      const s = () => ensembles.sum([...seen.clsAttention.values()].map(scoreByCls));
      return keepBest(await readPictures('scores', () => score(seen, s())), budget);
    },
  }),
});

// 1. The least attended.
const least = scoring('least', (_, s) => tf.neg(s));
// 2. Both at once.
const both = scoring('both', ({ F }, s) => tf.mul(s, tf.norm(tf.sub(F, tf.mean(F, 1, true)), 2, 2)));

const share: Record<string, number> = {};
for (const method of [least, findMethod('random'), findMethod('vtc-cls'), both]) {
  const answered = await examine({ method, methodOptions: method.defaults, budget: 25 }, { scenes: 8 });
  share[method.name] = accuracy(answered);
  print(method.name.padEnd(8), percent(share[method.name]));
  //> least     15.8 %
  //> random    54.4 %
  //> vtc-cls   96.5 %
  //> both      96.5 %
}
check('the least attended are worse than a blind choice', share['least'] < share['random']);
//> ✓  the least attended are worse than a blind choice
// They must be: random keeps a quarter of the objects, this one none. What it still answers it answers by what is said
// most often. Such a control shows that a score says something; beating random does not show that alone.
// Both together gain nothing on these 57 questions. To know whether they do on more: `vtc eval`.
