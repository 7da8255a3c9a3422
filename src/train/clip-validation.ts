import * as tf from '@tensorflow/tfjs-core';
import { scoreByCls } from '../compress/score.ts';
import { createRandom } from '../random.ts';
import type { PreprocessConfig } from '../image/preprocess.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { runClipVision } from '../vision/clip.ts';
import { contrast, embedPictures, embedTexts, type Clip } from '../vision/contrastive.ts';
import { captionScene, type Naming } from '../world/caption.ts';
import { objectPatches, type Scene } from '../world/scene.ts';
import { infoNce } from './losses.ts';
import { drawPixels } from './pictures.ts';
import { changeCaption, changes } from './wrong-captions.ts';

/** The share of patches that a picture's [CLS] attention is judged by. */
const topShare = 0.125;

/**
 * What the towers know, on scenes they never saw: the contrastive loss; how often a picture finds its caption among
 * all; how often a caption is told from one with a single word changed; and how much of each layer's top [CLS]
 * attention lies on objects.
 */
export function validateClip(
  clip: Clip,
  scenes: readonly Scene[],
  tokenizer: Tokenizer,
  preprocessing: PreprocessConfig,
  naming: Naming = 'all',
): Record<string, number> {
  return tf.tidy(() => {
    const pixels = drawPixels(scenes, preprocessing);
    const pictures = embedPictures(clip, pixels);
    const texts = embedTexts(
      clip,
      scenes.map((scene) => tokenizer.encode(captionScene(scene, naming))),
    );
    const logits = contrast(clip, pictures, texts);
    const found = tf.argMax(logits, 1).dataSync();
    const result: Record<string, number> = {
      loss: infoNce(logits).dataSync()[0],
      retrieval: share(scenes.map((_, i) => found[i] === i)),
    };
    const right = rowDots(pictures, texts);
    const random = createRandom(0);
    for (const attribute of Object.keys(changes) as (keyof typeof changes)[]) {
      const wrong = scenes.flatMap((scene, i) => {
        const caption = changeCaption(scene, attribute, random, naming);
        return caption === undefined ? [] : [{ i, ids: tokenizer.encode(caption) }];
      });
      if (wrong.length === 0) continue;
      const own = tf.gather(
        pictures,
        wrong.map(({ i }) => i),
      );
      const captions = embedTexts(
        clip,
        wrong.map(({ ids }) => ids),
      );
      const likeness = rowDots(own, captions);
      result[`swap ${attribute}`] = share(wrong.map(({ i }, k) => right[i] > likeness[k]));
    }
    return { ...result, ...measureFocus(clip, pixels, scenes) };
  });
}

/** A layer's top patches by [CLS] attention: the share of them on objects; and the share of all patches that are. */
function measureFocus(
  { vision }: Clip,
  pixels: tf.Tensor4D,
  scenes: readonly Scene[],
): Record<string, number> {
  const { num_hidden_layers, patch_size } = vision.config;
  const layers = Array.from({ length: num_hidden_layers }, (_, l) => l);
  const { clsAttention } = runClipVision(vision, pixels, { clsAttention: layers });
  const onObject = scenes.map((scene) => objectPatches(scene, patch_size));
  const top = Math.round(topShare * onObject[0].length);
  const focus = layers.map((l) => {
    const best = tf.topk(scoreByCls(clsAttention.get(l)!), top).indices.arraySync() as number[][];
    return [`focus ${l}`, share(best.flatMap((row, b) => row.map((patch) => onObject[b][patch])))] as const;
  });
  return { ...Object.fromEntries(focus), 'focus by chance': share(onObject.flat()) };
}

/** a · b, row by row of two [B, W]. */
const rowDots = (a: tf.Tensor2D, b: tf.Tensor2D) => tf.sum(tf.mul(a, b), 1).dataSync();

const share = (cases: readonly boolean[]): number => cases.filter(Boolean).length / cases.length;
