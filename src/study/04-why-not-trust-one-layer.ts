/**
 * 4. Why not trust one layer: which layer should one believe?
 *
 *     s    = Σ a_l over the K layers that end with the selected one       [P]
 *     kept = sort(top-U of s)                                             U places in raster order
 *
 * This is VTC-CLS: K layers vote, the U patches with the most votes stay, the others are thrown away for good.
 * Look for: what one layer overlooks another sees, and nobody knows which layer to trust without the drawing.
 */
import * as tf from '@tensorflow/tfjs-core';
import { ensembles } from '../compress/ensemble.ts';
import { readPictures } from '../compress/host.ts';
import { scoreByCls } from '../compress/score.ts';
import { keepTopK } from '../compress/top-k.ts';
import { runClipVision } from '../vision/clip.ts';
import { createScene, objectPatches } from '../world/scene.ts';
import { agree, llava, nameObjects, percent, pixelsOf, print, printMaps } from './desk.ts';
// 32 pictures at once: the batch axis B. Layer 3 made the features, so K layers end with it; layer 4 never runs.
const scenes = Array.from({ length: 32 }, (_, b) => createScene('test', b));
const { clsAttention } = runClipVision(llava.vision, pixelsOf(...scenes), { clsAttention: [0, 1, 2, 3] });
const a: Float32Array[][] = []; // [layer][picture], P numbers each: chapter 3's a
for (const l of [0, 1, 2, 3]) a.push(await readPictures('a', () => scoreByCls(clsAttention.get(l)!)));
// The last K layers added up.
const vote = (K: number) =>
  scenes.map((_, b) => a[0][b].map((_, p) => a.slice(-K).reduce((sum, layer) => sum + layer[b][p], 0)));
const three = [1, 2, 3].map((l) => scoreByCls(clsAttention.get(l)!)); // [B, P] each
await agree('s', tf.stack(vote(3).map((s) => tf.tensor1d(s))), ensembles.sum(three));
//> ✓  s
// Top-U: the largest first, of equals the lower place; cut after U; back into the order of a page.
const order = (s: Float32Array) => [...s.keys()].sort((p, q) => s[q] - s[p] || p - q);
const topU = (s: Float32Array, U: number) =>
  order(s).slice(0, U).sort((p, q) => p - q); // prettier-ignore
const U = 25;
const kept = vote(3).map((s) => topU(s, U));
await agree('kept', kept.flat(), keepTopK(vote(3), U).flat());
//> ✓  kept
// One picture: its objects, then what layer 1, layer 3 and the sum of layers 1, 2 and 3 look at.
const b = 7;
print(nameObjects(scenes[b]));
//> pink square, white triangle, yellow square
printMaps(objectPatches(scenes[b], 8).map(Number), a[1][b], a[3][b], vote(3)[b]);
//> |                    |  |                    |  |                    |  |                    |
//> |                  @@|  |                    |  |                  @@|  |                  ##|
//> |@@@@@@              |  |**  @@              |  |@@                  |  |@@  %%              |
//> |@@@@                |  |                    |  |**                  |  |--                  |
//> |                    |  |                    |  |                    |  |                    |
//> |                    |  |                    |  |                    |  |                    |
//> |                    |  |                    |  |                    |  |                    |
//> |                    |  |                    |  |                    |  |                    |
//> |                    |  |                    |  |                    |  |                    |
//> |                    |  |                    |  |                    |  |                    |
// From the triangle, patch 22, layer 3 takes almost nothing. Where it decides alone, the picture has no triangle any more.
const [alone, summed] = [a[3][b], vote(3)[b]].map((s) => 1 + order(s).indexOf(22));
print('patch 22 has rank', alone, 'of 100 in layer 3,', summed, 'in the sum');
//> patch 22 has rank  60  of 100 in layer 3,  2  in the sum
// All pictures: the share of the objects' patches that is kept, and the share of the kept that lies on objects.
const on = scenes.map((scene) => objectPatches(scene, 8));
const all = on.flat().filter(Boolean).length;
const write = (hits: number) => `${percent(hits / all)} of objects, ${percent(hits / (32 * U))} of kept`;
const hits = (s: Float32Array, b: number) => topU(s, U).filter((p) => on[b][p]);
print('random  ', write(all / 4));
//> random    25.0 % of objects, 6.5 % of kept
print('at best ', write(all));
//> at best   100.0 % of objects, 25.9 % of kept
for (const l of [0, 1, 2, 3]) print('layer', l, write(a[l].flatMap(hits).length));
//> layer  0  82.1 % of objects, 21.3 % of kept
//> layer  1  80.7 % of objects, 20.9 % of kept
//> layer  2  88.4 % of objects, 22.9 % of kept
//> layer  3  69.6 % of objects, 18.0 % of kept
print('K = 3   ', write(vote(3).flatMap(hits).length));
//> K = 3     84.5 % of objects, 21.9 % of kept
/*
 * Most kept patches are bare ground: 25 is far more than the objects cover. Layer 2 alone keeps more of them than the sum,
 * layers 1 and 3 less: a sum is not best, it needs nobody to choose. On 5,250 questions and three decoders K = 1, layer 3,
 * answers 90.8 % rightly with 25 tokens, K = 3 96.9 % (src/compress/README.md).
 * Exercises
 * 1. Take the mean of the layers instead of their sum. Which patches change? Then divide each layer's row by its sum
 *    first, so that [CLS]'s own column no longer counts. Which change now, and why?
 * 2. Let layer 0 vote too, K = 4. It has seen no more than edges and colours. Does its vote help, and how loud is it?
 */
