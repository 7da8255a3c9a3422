/**
 * 8. Your own method: how does an idea become a measured figure?
 *
 *     s_p = |F_p − mean of F|            what is unlike the rest of the picture may matter
 *
 * A method says what it needs of the tower and how it chooses W from what was seen; the rest is the same for all. This one
 * needs no attention: features of bare ground resemble each other, so what is far from their mean is no ground.
 * Look for: a figure alone says nothing. Random is what any score has to beat, and the uncut model is the mark to reach.
 */
import * as tf from '@tensorflow/tfjs-core';
import { readPictures } from '../compress/host.ts';
import type { Method } from '../compress/method.ts';
import { findMethod } from '../compress/registry.ts';
import { keepBest } from '../compress/top-k.ts';
import { prepare } from '../plan.ts';
import { llava, print } from './desk.ts';
import { examine, writeShare } from './exam.ts';

const unlike: Method = {
  name: 'unlike',
  paper: 'ours, of this chapter',
  summary: 'keeps the patches whose features are farthest from their mean',
  stages: ['before'], // the decoder; others act inside the 'tower' or 'between' the decoder's layers
  defaults: {},
  help: {},
  prepare: (_, budget) => ({
    needs: {}, // of the tower, besides F, which all are given
    async choose({ F }) {
      const s = await readPictures('scores', () => tf.norm(tf.sub(F, tf.mean(F, 1, true)), 2, 2)); // [B, P]
      return keepBest(s, budget);
    },
  }),
};

// VTC-CLS says that it needs the [CLS] row of its K layers; the tower makes what is asked for and no more.
const vtcCls = findMethod('vtc-cls');
const { needs } = prepare(llava.config, { method: vtcCls, methodOptions: vtcCls.defaults, budget: 25 });
print('vtc-cls needs', JSON.stringify(needs));
//> vtc-cls needs  {"clsAttention":[1,2,3]}

// Every method answers the same questions, of the same scenes, with the same budget: a quarter of the tokens. The exam
// asks of 8 scenes one question of each type that the scene allows, 57 in all: colour, shape, size, existence, count, quadrant,
// relation, letter.
const scenes = 8;
const contestants = [
  { method: findMethod('none'), budget: 100 },
  { method: vtcCls, budget: 25 },
  { method: unlike, budget: 25 },
  { method: findMethod('random'), budget: 25 },
];
for (const { method, budget } of contestants) {
  const answered = await examine({ method, methodOptions: method.defaults, budget }, { scenes });
  // So few leave much to chance: of 100 such exams 95 would have the true share in [low, high], taking the questions for
  // independent. Seven about one scene are not quite that, so the truth is wider still; and random is one seed of many.
  print(method.name.padEnd(8), budget, 'tokens', writeShare(answered));
  //> none      100  tokens  55 of 57 right, 96.5 % [88.1, 99.0]
  //> vtc-cls   25  tokens  55 of 57 right, 96.5 % [88.1, 99.0]
  //> unlike    25  tokens  55 of 57 right, 96.5 % [88.1, 99.0]
  //> random    25  tokens  31 of 57 right, 54.4 % [41.6, 66.6]
}

// VTC-CLS and random are well apart. VTC-CLS and ours are not: so few questions do not tell which of the two is better.
// `vtc eval` asks thousands, by type of question and with several seeds. A method becomes one of the registry by a file in
// src/compress/ and a line there, and then is measured beside all others.

/*
 * Exercises
 * 1. Turn VTC-CLS round: keep the patches that [CLS] attends to least. Is it worse than random? Should it be?
 * 2. Multiply both scores, [CLS]'s and `unlike`'s. Which layers must the method say it needs?
 */
