/**
 * 3. Where [CLS] looks: what does the tower itself find worth looking at?
 *
 *     a_h = softmax(q_cls·Kᵀ / √C)[1:]        one row of N numbers a head; [CLS]'s own column dropped, not renormalised
 *     a   = mean of a_h over the heads        [P]
 *
 * [CLS] was trained to stand for the whole picture, so it takes from where there is something. Nobody told it what will
 * be asked. The tower makes its row anyway; with fused attention, which shows no weights, this one row is made again: one query a
 * head, N products of width C.
 * Look for: the map, and how much of what [CLS] takes comes from how little of the picture.
 */
import * as tf from '@tensorflow/tfjs-core';
import { scoreByCls } from '../compress/score.ts';
import { openBlock } from '../vision/block.ts';
import { runClipVision } from '../vision/clip.ts';
import { objectPatches } from '../world/scene.ts';
import { agree, llava, nameObjects, percent, pixelsOf, print, printMaps, scene } from './desk.ts';

const { config, weights } = llava.vision;
const [H, P, C] = [config.num_attention_heads, 100, config.hidden_size / config.num_attention_heads];

// LLaVA takes hidden[−2]: the output of layer 3 of 0 .. 4. So the last attention that made those features is layer 3's.
const l = 3;
const seen = runClipVision(llava.vision, pixelsOf(scene), { hidden: [l], clsAttention: [l] });
const hidden = seen.hidden.get(l)!; // [1, N, D], what enters layer 3

// One query against all keys.
const { normed, keys } = openBlock(weights.layers[l], hidden, config); // keys [1, H, N, C]
const { weight, bias } = weights.layers[l].self_attn.q_proj;
const cls: tf.Tensor2D = tf.reshape(tf.slice(normed, [0, 0, 0], [1, 1, H * C]), [1, H * C]);
const q = tf.reshape(tf.add(tf.matMul(cls, weight as tf.Tensor2D), bias!), [H, 1, C]);
const row = tf.softmax(tf.div(tf.matMul(q, tf.squeeze(keys, [0]), false, true), Math.sqrt(C))); // [H, 1, N]
print('q of [CLS]', q, 'its row', row);
//> q of [CLS]  [4, 1, 24]  its row  [4, 1, 101]

// Its own column says how much [CLS] takes from itself. It is no patch, so it goes; what is left need not sum to 1.
const patches = tf.slice(row, [0, 0, 1], [H, 1, P]);
await agree('the [CLS] row', patches, seen.clsAttention.get(l)!);
//> ✓  the [CLS] row
const a = tf.mean(patches, [0, 1]); // [P]
await agree('scoreByCls', a, scoreByCls(seen.clsAttention.get(l)!));
//> ✓  scoreByCls
const values = await a.data<'float32'>();
const total = values.reduce((sum, x) => sum + x, 0);
print('[CLS] takes from itself', percent(1 - total), 'and from the patches', percent(total));
//> [CLS] takes from itself  42.9 %  and from the patches  57.1 %

// The scene's objects beside what [CLS] looks at, dark to light: the drawing is known here, so one can tell.
const onObject = objectPatches(scene, config.patch_size);
print(nameObjects(scene));
//> blue triangle, red triangle, pink cross, yellow h
printMaps(onObject.map(Number), values);
//> |    @@@@            |  |                    |
//> |    @@@@            |  |    ..              |
//> |                    |  |                    |
//> |                    |  |                    |
//> |            @@      |  |            ..      |
//> |  @@@@              |  |  ##::              |
//> |  @@@@              |  |                    |
//> |                    |  |                    |
//> |                    |  |                    |
//> |        @@          |  |        @@          |

// Nearly half of what [CLS] takes from patches comes from the few on objects. Looking evenly it would be their area's share.
const onObjects = values.reduce((sum, x, p) => sum + (onObject[p] ? x : 0), 0);
print('their share of the area', percent(onObject.filter(Boolean).length / P));
//> their share of the area  10.0 %
print('their share of what [CLS] takes from patches', percent(onObjects / total));
//> their share of what [CLS] takes from patches  43.9 %

/*
 * Exercises
 * 1. Forget to drop [CLS]'s own column, and take the places of the 10 largest of N numbers for patches. How much of them
 *    lies on objects now, and why is each of them off by one?
 * 2. Print the four heads' maps apart. Does any head see all the objects? Is the mean over heads a good idea?
 */
