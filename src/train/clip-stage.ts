/** Stage 1: CLIP. Two towers learn to give a picture and its caption one direction. */
import * as tf from '@tensorflow/tfjs-core';
import type { ClipConfig } from '../checkpoint/architecture.ts';
import { weightTable } from '../checkpoint/names.ts';
import { createRandom } from '../random.ts';
import { readPreprocessConfig, readTokenizer } from '../node/checkpoint.ts';
import { dense } from '../io/weight-table.ts';
import { linear, type Linear } from '../tensor/linear.ts';
import { contrast, embedPictures, embedTexts, type Clip } from '../vision/contrastive.ts';
import { captionScene } from '../world/caption.ts';
import { createFamily, type Split } from '../world/scene.ts';
import { sceneText, type Told } from './provenance.ts';
import { worldWords } from '../world/vocabulary.ts';
import { validateClip } from './clip-validation.ts';
import { gridPositions, initialise, scaledIdentity, type InitialRules } from './initialise.ts';
import { binaryCrossEntropy, infoNce } from './losses.ts';
import { listTensors, toVector } from './parameters.ts';
import { drawPixels } from './pictures.ts';
import type { ClipRecipe } from './recipe.ts';
import { fade } from './schedule.ts';
import type { Stage } from './train.ts';
import { drawWrongCaptions } from './wrong-captions.ts';

/**
 * What is trained: CLIP's own weights, and a head for the auxiliary loss, which no checkpoint keeps.
 *
 * That loss asks a caption's embedding which words the caption has. Without it the text tower tells colours alone for a
 * thousand steps: the gradient of any other word is as small as the picture's trace of what it means, and the other way
 * round. A text tower that tells all its words gives the vision tower something to learn from at once.
 */
export interface ClipStageWeights {
  vision: Clip['vision']['weights'];
  text: Clip['text']['weights'];
  contrast: Clip['weights'];
  words: Linear; // [projection_dim, words of the world]
}

export interface ClipBatch {
  pixels: tf.Tensor4D; // [B, S, S, 3]
  captions: number[][]; // B rows of token ids, then those of wrong captions
  words: tf.Tensor2D; // [B, words of the world], 1 where the caption has the word
}

const rules: InitialRules = [
  [/logit_scale$/, { constant: Math.log(1 / 0.07) }],
  [/(norm\w*|layrnorm)\.weight$/, { constant: 1 }],
  [/\.bias$/, { constant: 0 }],
  [/vision_model\..*\.[qk]_proj\.weight$/, { values: scaledIdentity(1.2) }],
  [/vision_model\.embeddings\.position_embedding/, { values: gridPositions }],
  [/text_model\.embeddings\./, { std: 0.1 }],
  [/class_embedding$/, { std: 0.02 }],
];

/** @param dir the folder that `startClipFolder` began */
export async function createClipStage(
  dir: string,
  config: ClipConfig,
  recipe: ClipRecipe,
): Promise<Told<Stage<ClipStageWeights, ClipBatch>>> {
  const { pace, seed, families, familySize, wrongCaptions, captions: naming, auxiliary } = recipe;
  const preprocessing = await readPreprocessConfig(dir, config.vision.image_size);
  const tokenizer = await readTokenizer(dir, null);
  const { vision, text, contrast: shared } = weightTable(config);
  const table = {
    vision: vision!,
    text: text!,
    contrast: shared!,
    words: dense('words', recipe.projection_dim, worldWords.length),
  };
  const weights: ClipStageWeights = initialise(table, createRandom(seed), rules);
  const fadeFrom = auxiliary.fadeFrom * pace.steps;
  const drawFamilies = (split: Split, first: number, count: number) =>
    Array.from({ length: count }, (_, i) => createFamily(split, first + i, familySize, naming)).flat();
  const drawCaptioned = (step: number) => {
    const first = seed * 1_000_000 + step * families;
    const scenes = drawFamilies('train', first, families);
    const random = createRandom(first);
    return {
      scenes,
      captions: scenes.map((scene) => captionScene(scene, naming)),
      wrong: scenes.flatMap((scene) => drawWrongCaptions(scene, wrongCaptions, random, naming)),
    };
  };
  const validation = drawFamilies('validation', 0, Math.ceil(recipe.validation / familySize));

  return {
    name: 'clip',
    pace,
    recipe: JSON.stringify({ ...recipe, pace: undefined }),
    weights,
    most: toVector(
      listTensors(weights).map((tensor) =>
        tf.fill(tensor.shape, tensor === weights.contrast.logit_scale ? Math.log(100) : Infinity),
      ),
    ),
    draw(step) {
      const { scenes, captions, wrong } = drawCaptioned(step);
      return {
        pixels: drawPixels(scenes, preprocessing),
        captions: [...captions, ...wrong].map((caption) => tokenizer.encode(caption)),
        words: tf.tensor2d(captions.map(findWords)),
      };
    },
    tell(step) {
      const { scenes, captions, wrong } = drawCaptioned(step);
      return [...scenes.map(sceneText), ...captions, ...wrong].join('\n');
    },
    loss(current, { pixels, captions, words }, step) {
      return tf.tidy(() => {
        const clip = assemble(config, current);
        const texts = embedTexts(clip, captions);
        const likeness = infoNce(contrast(clip, embedPictures(clip, pixels), texts));
        const own = tf.slice(texts, [0, 0], [words.shape[0], recipe.projection_dim]);
        // The directions have length 1: times √D their numbers are of order 1, as a linear layer likes them.
        const directions: tf.Tensor2D = tf.mul(own, Math.sqrt(recipe.projection_dim));
        const weight = auxiliary.weight * fade(step, fadeFrom, pace.steps);
        return tf.add(likeness, tf.mul(binaryCrossEntropy(linear(current.words, directions), words), weight));
      });
    },
    validate: (current) =>
      validateClip(assemble(config, current), validation, tokenizer, preprocessing, naming),
  };
}

/** The weights in training as the model that runs everywhere else. */
export function assemble(config: ClipConfig, { vision, text, contrast }: ClipStageWeights): Clip {
  return {
    vision: { config: config.vision, weights: vision },
    text: { config: config.text, weights: text },
    weights: contrast,
  };
}

/** Which of the world's words a caption has, 0 or 1 each. */
function findWords(caption: string): number[] {
  const words = new Set(caption.split(' '));
  return worldWords.map((word) => Number(words.has(word)));
}
