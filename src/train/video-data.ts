/** What a video model is shown and asked while it learns: the same for a step whenever it is asked for. */
import type * as tf from '@tensorflow/tfjs-core';
import type { LlavaConfig } from '../checkpoint/architecture.ts';
import { readPreprocessConfig } from '../node/checkpoint.ts';
import { createRandom, pick, shuffle, type Random } from '../random.ts';
import { clipFrames, clipKey, createClip, type Clip } from '../world/clip.ts';
import { askClip, describeClip, tellFrames, type ClipQuestion } from '../world/clip-questions.ts';
import type { Scene } from '../world/scene.ts';
import { hashText, type Split } from '../world/split.ts';
import { readTrainingPrompts } from './ask.ts';
import { firstIndex } from './llava-data.ts';
import { packQuestions, type Prompted } from './pack.ts';
import { drawPixels } from './pictures.ts';
import type { VideoRecipe } from './recipe.ts';

/** Some clips of one length, and what is asked about each. */
export interface AskedClips {
  clips: readonly Clip[];
  questions: ClipQuestion[][]; // [B][questions]
  /** Of the draws that are left to make. */
  random: Random;
}

/** What the cells of frames are to say: a word, or the end where they have nothing to tell. [B·F·n] */
export interface Tellings {
  targets: number[];
  tells: boolean[];
}

/** Where the data of a stage come from. */
export interface VideoData {
  /** @param step from 0 */
  step(step: number): AskedClips;
  /** The validation split's clips, so many at a time. */
  validation(): Iterable<AskedClips>;
  /** The pictures of scenes as the tower takes them: [B, S, S, 3]. */
  pixels(scenes: readonly Scene[]): tf.Tensor4D;
  /** @param visual tokens that all frames of a clip take together */
  prompt(asked: AskedClips, visual: number): Prompted<ClipQuestion>;
  /** What every frame's cells are to say, so many a side. */
  tellings(asked: AskedClips, across: number): Tellings;
  /** What the batch of a step shows and is asked, as text. */
  tell(step: number): string;
}

/** @param dir the model's folder, its tokenizer and template in it */
export async function openVideoData(
  dir: string,
  config: LlavaConfig,
  {
    seed,
    framesABatch,
    shortSteps,
    questions,
    validation,
  }: Pick<VideoRecipe, 'seed' | 'framesABatch' | 'shortSteps' | 'questions' | 'validation'>,
): Promise<VideoData> {
  const preprocessing = await readPreprocessConfig(dir, config.vision.image_size);
  const { before, filler, tokens, say } = await readTrainingPrompts(dir, config);
  const { least, most } = clipFrames;
  const lengths = Array.from({ length: most - least + 1 }, (_, i) => least + i);
  const draw = (split: Split, first: number, frames: number, draws: string): AskedClips => {
    const random = createRandom(hashText(draws));
    const count = Math.floor(framesABatch / frames);
    const drawn = Array.from({ length: count }, (_, i) => createClip(split, first + i, frames));
    const asked = drawn.map((clip) => takeSome(shuffle(random, askClip(clip)), questions));
    return { clips: drawn, questions: asked, random };
  };
  const step = (at: number) => {
    const random = createRandom(hashText(`frames ${seed} ${at}`));
    const frames = pick(random, at < shortSteps ? [2, 3] : lengths);
    return draw('train', firstIndex(seed) + at * framesABatch, frames, `clip questions ${seed} ${at}`);
  };
  return {
    step,
    *validation() {
      let first = 0;
      for (const [i, frames] of lengths.entries()) {
        for (let round = 0; round < validation; round++) {
          const asked = draw('validation', first, frames, `validation ${i} ${round}`);
          first += asked.clips.length;
          yield asked;
        }
      }
    },
    pixels: (scenes) => drawPixels(scenes, preprocessing),
    prompt({ clips: shown, questions: asked }, visual) {
      const ids = shown.map((clip, b) => [
        ...asked[b].map(tokens),
        say('what is there ?', describeClip(clip)),
      ]);
      return { before, questions: asked, packed: packQuestions(ids, before.length + visual, filler) };
    },
    tellings({ clips, random }, across) {
      const told = clips.flatMap((clip) => tellFrames(clip, across, random).flat());
      const words = [...new Set(told)].filter((word) => word !== undefined);
      const idOf = new Map(words.map((word) => [word, say('?', word).answer[0]]));
      return {
        targets: told.map((word) => (word === undefined ? filler : idOf.get(word)!)),
        tells: told.map((word) => word !== undefined),
      };
    },
    tell(at) {
      const { clips: shown, questions: asked } = step(at);
      return [
        ...shown.map((clip) => `${clipKey(clip)} | ${clip.backgroundSeed}`),
        ...asked.flat().map(({ question, answer }) => `${question} ${answer}`),
      ].join('\n');
    },
  };
}

/** So many of a list, from its beginning again where it is too short. */
const takeSome = <T>(list: readonly T[], count: number): T[] =>
  Array.from({ length: count }, (_, i) => list[i % list.length]);
