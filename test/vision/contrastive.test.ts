import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { comparePatches, contrast, embedPictures, embedTexts } from '../../src/vision/contrastive.ts';
import { dot, layerNorm, linear } from '../reference/ops.ts';
import * as text from '../reference/text.ts';
import * as vision from '../reference/vision.ts';
import { describeEachBackend } from '../support/backends.ts';
import {
  axis,
  draw,
  expectNear,
  expectNewTensors,
  randoms,
  seededRandom,
  tidyEachTest,
  toArrays,
} from '../support/random.ts';
import { textConfigs, tinyClip, visionConfigs } from '../support/tiny.ts';

const runs = { numRuns: 30 };
const ids = [[0, 3, 7], [0, 5, 1, 6, 7], [7]];

describeEachBackend('the two towers of CLIP', () => {
  tidyEachTest();

  test('their directions and logits equal those of the twins', () => {
    fc.assert(
      fc.property(randoms, visionConfigs, textConfigs, axis(3), (random, visionConfig, textConfig, B) => {
        const clip = tinyClip(random, visionConfig, textConfig);
        const pixels = draw(random, [B, visionConfig.image_size, visionConfig.image_size, 3]);
        const weights = toArrays(clip.weights);
        const eps = visionConfig.layer_norm_eps;

        const pictures = pixels.map((picture) => {
          const [cls] = vision
            .runClipVision(toArrays(clip.vision.weights), picture, visionConfig)
            .hidden.at(-1)!;
          const [pooled] = layerNorm([cls], weights.post_layernorm, eps);
          return text.toUnitLength(linear([pooled], weights.visual_projection)[0]);
        });
        const texts = ids.map((row) => {
          const { hidden } = text.runClipText(toArrays(clip.text.weights), row, textConfig);
          return text.toUnitLength(linear([hidden.at(-1)!], weights.text_projection)[0]); // each ends with its end
        });
        const actual = [embedPictures(clip, tf.tensor4d(pixels)), embedTexts(clip, ids)];
        expectNear(actual[0], pictures, 'pictures', 1e-4);
        expectNear(actual[1], texts, 'texts', 1e-4);
        const logits = pictures.map((i) => texts.map((t) => Math.exp(weights.logit_scale) * dot(i, t)));
        expectNear(contrast(clip, actual[0], actual[1]), logits, 'logits', 1e-4);
      }),
      runs,
    );
  });

  test('patches of two pictures are not compared with one question', () => {
    const clip = tinyClip(seededRandom(1));
    const features = tf.zeros([2, 16, clip.vision.config.hidden_size]) as tf.Tensor3D;
    expect(() => comparePatches(clip, features, [[1, 7]])).toThrow('features');
    expect(comparePatches(clip, features, [[1, 7], [2, 7]]).shape).toEqual([2, 16]); // prettier-ignore
  });

  test('only results are left in memory', async () => {
    const clip = tinyClip(seededRandom(1));
    const pixels = tf.zeros([2, 9, 9, 3]) as tf.Tensor4D;
    await expectNewTensors(1, 'embedPictures', () => embedPictures(clip, pixels));
    await expectNewTensors(1, 'embedTexts', () => embedTexts(clip, ids));
    const [pictures, texts] = [embedPictures(clip, pixels), embedTexts(clip, ids)];
    await expectNewTensors(1, 'contrast', () => contrast(clip, pictures, texts));
    await expectNewTensors(0, 'embedTexts that throws', () => embedTexts(clip, [[1]]), true);
  });
});
