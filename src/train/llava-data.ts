/** What LLaVA is shown and asked while it learns: the same for a step whenever it is asked for. */
import * as tf from '@tensorflow/tfjs-core';
import type { LlavaConfig } from '../checkpoint/architecture.ts';
import { readPreprocessConfig } from '../node/checkpoint.ts';
import { createRandom, pick, type Random } from '../random.ts';
import { frameOf, framePatches, wholeFrame, type Frame } from '../world/frame.ts';
import { askScene, type Question } from '../world/questions.ts';
import { createScene, side, type Scene, type Split } from '../world/scene.ts';
import { hashText } from '../world/split.ts';
import { readTrainingPrompts, type TrainingPrompts } from './ask.ts';
import { packQuestions, type AskedTokens, type Prompted } from './pack.ts';
import { drawPixels } from './pictures.ts';
import { sceneText } from './provenance.ts';
import type { LlavaRecipe } from './recipe.ts';

/** Some scenes, and what is asked about each. */
export interface Asked {
  scenes: readonly Scene[];
  questions: Question[][]; // [B][questions]
  /** Of the draws that are left to make. */
  random: Random;
}

/** Where the data of a stage come from. */
export interface LlavaData {
  /** @param step from 0 */
  step(step: number): Asked;
  /** The validation split's scenes, so many at a time. */
  validation(): Iterable<Asked>;
  /** The pictures of scenes as the tower takes them, [B, S, S, 3]. */
  pixels(scenes: readonly Scene[]): tf.Tensor4D;
  /** Which patches of scenes of one shape are no padding. */
  patches(scenes: readonly Scene[]): number[];
  /**
   * @param visual tokens that the picture takes
   * @param more asked about each scene, after all else: equally much of each
   */
  prompt(asked: Asked, visual: number, more?: AskedTokens[][]): Prompted;
  /** How questions become tokens. */
  prompts: TrainingPrompts;
  /** What the batch of a step shows and says, as text. */
  tell(step: number): string;
}

/**
 * @param dir the model's folder, its tokenizer and template in it
 * @param adds words behind the model's own
 */
export async function openLlavaData(
  dir: string,
  config: LlavaConfig,
  recipe: Pick<LlavaRecipe, 'seed' | 'pictures' | 'questions' | 'frames' | 'validation'>,
  adds: readonly string[] = [],
): Promise<LlavaData> {
  const { seed, pictures } = recipe;
  const preprocessing = await readPreprocessConfig(dir, config.vision.image_size);
  const prompts = await readTrainingPrompts(dir, config, adds);
  const ask = (scenes: readonly Scene[], draws: string): Asked => {
    const random = createRandom(hashText(draws));
    return { scenes, questions: scenes.map((scene) => askScene(scene, random, recipe.questions)), random };
  };
  const step = (step: number) =>
    ask(
      createScenes('train', firstIndex(seed) + step * pictures, pictures, drawFrame(recipe, step)),
      `questions ${seed} ${step}`,
    );
  return {
    step,
    *validation() {
      for (let first = 0; first < recipe.validation; first += pictures) {
        yield ask(createScenes('validation', first, pictures), `validation ${first}`);
      }
    },
    pixels: (scenes) => drawPixels(scenes, preprocessing),
    patches: ([{ frame = wholeFrame }]) => framePatches(frame, config.vision.patch_size),
    prompts,
    prompt: (asked, visual, more) => packPrompts(prompts, asked, visual, more),
    tell(at) {
      const { scenes, questions } = step(at);
      return [
        ...scenes.map(sceneText),
        ...questions.flat().map(({ question, answer }) => `${question} ${answer}`),
      ].join('\n');
    },
  };
}

/** No two seeds train on the same scenes. */
export const firstIndex = (seed: number): number => seed * 1_000_000;

export const createScenes = (split: Split, first: number, count: number, frame?: Frame): Scene[] =>
  Array.from({ length: count }, (_, i) => createScene(split, first + i, frame));

/** The shape of a step's pictures. */
function drawFrame({ seed, frames }: Pick<LlavaRecipe, 'seed' | 'frames'>, step: number): Frame | undefined {
  const random = createRandom(hashText(`frame ${seed} ${step}`));
  const [width, height] = [pick(random, frames), pick(random, frames)];
  return width === side && height === side ? undefined : frameOf(width, height);
}

/**
 * Questions begin 0 to so many places behind the picture, as the later turns of a conversation do. At one distance only,
 * a decoder may tell patches by how far they are, and not by what their features say of their place.
 */
const mostGap = 96;

function packPrompts(
  { before, filler, tokens, describe }: TrainingPrompts,
  { scenes, questions, random }: Asked,
  visual: number,
  more?: AskedTokens[][],
): Prompted {
  const ids = scenes.map((scene, b) => [...questions[b].map(tokens), describe(scene), ...(more?.[b] ?? [])]);
  const gaps = ids[0].map(() => Math.floor(random() * mostGap));
  return { before, questions, packed: packQuestions(ids, before.length + visual, filler, gaps) };
}

/**
 * The share of right first words, by type of question.
 * @param batches what is asked, such as the validation split
 * @param answer the logits [M, V] for a batch's questions as they were packed; called inside a tidy
 */
export function measureAnswers<A>(
  batches: Iterable<A>,
  answer: (asked: A) => Pick<Prompted<{ type: string }>, 'packed' | 'questions'> & { logits: tf.Tensor2D },
): Record<string, number> {
  const right = new Map<string, boolean[]>();
  for (const asked of batches) {
    tf.tidy(() => {
      const { logits, packed, questions } = answer(asked);
      const said = tf.argMax(logits, 1).dataSync();
      for (const [b, ofScene] of questions.entries()) {
        for (const [q, { type }] of ofScene.entries()) {
          const at = packed.firsts[b][q];
          right.set(type, [...(right.get(type) ?? []), said[at] === packed.targets[at]]);
        }
      }
    });
  }
  const share = (cases: boolean[]) => cases.filter(Boolean).length / cases.length;
  const byType = [...right].sort().map(([type, cases]) => [type, share(cases)] as const);
  return { accuracy: share([...right.values()].flat()), ...Object.fromEntries(byType) };
}
