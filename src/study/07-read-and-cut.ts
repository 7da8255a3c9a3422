/**
 * 7. Read, and cut between layers: what does the decoder do with the tokens?
 *
 *     read     all T rows pass L layers at once; each layer keeps their keys and values, its cache
 *     decode   one row a step: its query meets the cached keys of all before it, and its own
 *     FastV    before layer k the image rows leave that the last row attends to least, by layer k − 1's attention, mean over
 *              heads; U of them go on
 *
 * VTC-CLS cuts before the first layer, by what the tower saw. FastV cuts later, by what the question made the decoder look
 * at: it knows more, and has read all tokens for k layers by then.
 * Look for: the length of each layer's cache.
 */
import * as tf from '@tensorflow/tfjs-core';
import { findMethod } from '../compress/registry.ts';
import { keepTopK } from '../compress/top-k.ts';
import { llamaBlock } from '../decoder/block.ts';
import { cacheLengths } from '../decoder/cache.ts';
import { decode, prefill } from '../decoder/generate.ts';
import { readLogits } from '../decoder/llama.ts';
import { createRope, ropeAt } from '../decoder/rope.ts';
import { spliceImage } from '../decoder/splice.ts';
import { prepare } from '../plan.ts';
import { project } from '../projector.ts';
import { causalMask } from '../tensor/attention.ts';
import { agree, ask, compressBy, llava, pixelsOf, print, scene, tokenizer } from './desk.ts';

const { decoder, projector, config } = llava;
const [P, U, k] = [100, 25, 2];
const prompt = ask('what letter is there ?');
const { F } = await compressBy('none', pixelsOf(scene), { budget: P });
const X = spliceImage(decoder, [prompt], project(projector, F)); // chapter 6's
const first = prompt.before.length; // where the image begins

/** Reads X layer by layer. @param cutAt the layer before which P image rows become U */
async function read(cutAt?: number) {
  let rows = [...X.roles[0].keys()]; // which of the T are still there; each keeps its position
  let hidden = X.hidden; // [1, T, E]
  let attention: tf.Tensor4D | undefined; // [1, H, T, T] of the layer before
  const lengths: number[] = [];
  for (const [l, layer] of decoder.weights.layers.entries()) {
    if (l === cutAt) {
      const toImage = tf.slice(attention!, [0, 0, rows.length - 1, first], [1, -1, 1, P]); // the last row's
      const s = await tf.mean(toImage, [0, 1, 2]).data<'float32'>(); // layer k − 1's, mean over heads [P]
      const image = keepTopK([s], U)[0].map((p) => first + p);
      rows = rows.filter((t) => X.roles[0][t] === 'text' || image.includes(t));
      hidden = tf.gather(hidden, rows, 1);
    }
    const rope = ropeAt(createRope(config.text, X.nextPosition), tf.tensor2d([rows], undefined, 'int32'));
    const mask = causalMask(rows.length, rows.length); // a row sees itself and the rows before it
    const block = llamaBlock(layer, hidden, config.text, { rope, mask, keepAttention: true });
    [hidden, attention] = [block.hidden, block.attention];
    lengths.push(block.keys.shape[2]);
  }
  return { lengths, logits: readLogits(decoder, tf.slice(hidden, [0, rows.length - 1, 0], [1, 1, -1])) };
}

const whole = await prefill(decoder, X, { maxNewTokens: 2 });
await agree('prefill', (await read()).logits, whole.logits);
//> ✓  prefill
print('logits', whole.logits, 'caches', cacheLengths(whole.cache));
//> logits  [1, 1, 62]  caches  108 108 108 108

const fastv = { method: findMethod('fastv'), methodOptions: { layer: k, rows: 'last' }, budget: U };
const session = await prefill(decoder, X, { maxNewTokens: 2, hook: prepare(config, fastv).between!() });
const cut = await read(k);
await agree('prefill with FastV', cut.logits, session.logits);
//> ✓  prefill with FastV
print('caches', cut.lengths, 'where VTC-CLS has', X.nextPosition - P + U, 'in every layer');
//> caches  108 108 33 33  where VTC-CLS has  33  in every layer

// The largest logit is the next token. It goes through the layers by itself, and each cache grows by one.
const written = await decode(decoder, session, { maxNewTokens: 2 });
print(`writes "${tokenizer.decode(written[0]).trim()}"`, 'caches', cacheLengths(session.cache));
//> writes "h"  caches  109 109 34 34

/*
 * Exercises
 * 1. Read all but the prompt's last token, then that one alone, as decoding would. Are the logits those of one reading?
 * 2. Let FastV cut before layer 1, 2 or 3. How far are the logits from the uncut ones, and what do the caches hold?
 */
