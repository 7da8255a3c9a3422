/**
 * PerceptionGPT (compress/trained/perceptiongpt.ts), from the shipped LLaVA: projector, decoder, the two words' rows and both
 * MLPs learn together, the tower stays. A step asks what LLaVA's own training asks and, of each scene, where things are and
 * what is in a box; boxes in questions and answers are the true ones (teacher forcing).
 *
 *     loss = CrossEntropy over all answers + mean over the boxes that are said of (10·L1 + GIoU)
 *
 * The release weighs all alike (perceptionGPT.py:489-531) and reads its x0 y0 x1 y1 as cx cy w h for GIoU: such boxes are large
 * and hardly ever apart. Ours are of one or two patches; why L1 weighs more with them is in box-loss.ts. The release adds the
 * mask's losses, and trains the decoder by LoRA.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Llava } from '../../checkpoint/load.ts';
import {
  boxToken,
  boxWords,
  perceptionGpt,
  withBoxWords,
  type PerceptionGptWeights,
} from '../../compress/trained/perceptiongpt.ts';
import type { Llama } from '../../decoder/llama.ts';
import { project } from '../../projector.ts';
import { createRandom, shuffle } from '../../random.ts';
import { asFloat32 } from '../../tensor/half.ts';
import { linear } from '../../tensor/linear.ts';
import { askBoxes, type BoxQuestion } from '../../world/box-questions.ts';
import { overlap } from '../../world/overlap.ts';
import type { Scene } from '../../world/scene.ts';
import { boxLoss } from '../box-loss.ts';
import {
  foldScale,
  measureFeatures,
  readFeatures,
  standardise,
  unfoldScale,
  type FeatureScale,
} from '../features.ts';
import { initialise, type InitialRules } from '../initialise.ts';
import {
  createScenes,
  firstIndex,
  measureAnswers,
  openLlavaData,
  type Asked,
  type LlavaData,
} from '../llava-data.ts';
import { crossEntropy } from '../losses.ts';
import type { Prompted } from '../pack.ts';
import { openPacked, packedStates, runPacked } from '../packed-decoder.ts';
import { copyTensors } from '../parameters.ts';
import { llavaRecipe } from '../recipe.ts';
import type { TrainOptions } from '../train.ts';
import { dataSeed, finish, type Outcome, type SystemRecipe, type SystemStage } from './run.ts';

export interface PerceptionGptRecipe extends SystemRecipe {
  /** Pictures in a batch, and about each so many ordinary questions, objects to be located and boxes to be named. */
  pictures: number;
  questions: number;
  locate: number;
  identify: number;
  frames: readonly number[];
  /** Pictures by which the tower's features are standardised. */
  standardise: number;
  validation: number;
}

export const perceptionGptRecipe: PerceptionGptRecipe = {
  pace: { ...llavaRecipe.pace, steps: 500, peak: 8e-4, warmUp: 30, validateEvery: 100 },
  seed: 0,
  pictures: 32,
  questions: 5,
  locate: 4,
  identify: 2,
  frames: llavaRecipe.frames,
  standardise: 256,
  validation: 128,
};

export interface PerceptionGptBatch extends Prompted {
  features: tf.Tensor3D; // [B, P, D], standardised
  /** What is asked with boxes, [B][locate + identify], each with one `<loc>`. */
  about: BoxQuestion[][];
}

/** @param dir the model's folder @returns the stage, whose projector is of standardised features, and their scale */
export async function createPerceptionGptStage(
  model: Llava,
  dir: string,
  recipe: PerceptionGptRecipe,
): Promise<SystemStage<PerceptionGptWeights, PerceptionGptBatch> & { scale: FeatureScale }> {
  const { config, vision } = model;
  const seed = dataSeed(recipe.seed);
  const data = await openLlavaData(dir, config, { ...recipe, seed }, boxWords);
  const look = (scenes: readonly Scene[], patches?: readonly number[]) =>
    tf.tidy(() => readFeatures(vision, data.pixels(scenes), config, patches));
  const scale = measureFeatures(
    createScenes('train', firstIndex(seed), recipe.standardise),
    recipe.pictures,
    look,
  );
  const open = (asked: Asked): PerceptionGptBatch => {
    const about = asked.scenes.map((_, b) => drawBoxes(asked, b, recipe));
    const patches = data.patches(asked.scenes);
    const features = tf.tidy(() => standardise(look(asked.scenes, patches), scale));
    const more = about.map((questions) =>
      questions.map(({ question, answer }) => data.prompts.say(question, answer)),
    );
    return { features, about, ...data.prompt(asked, patches.length, more) };
  };
  return {
    name: perceptionGpt.name,
    pace: recipe.pace,
    recipe: JSON.stringify({ ...recipe, pace: undefined }),
    weights: beginWeights(model, scale, recipe.seed),
    scale,
    draw: (step) => open(data.step(step)),
    tell(step) {
      const asked = data.step(step);
      const told = asked.scenes.flatMap((_, b) => drawBoxes(asked, b, recipe));
      const lines = told.map(({ question, answer, box }) => `${question} ${answer} ${box.join(' ')}`);
      return [data.tell(step), ...lines].join('\n');
    },
    loss: (weights, batch) =>
      tf.tidy(() => {
        const { logits, boxes } = answerBatch(model, weights, batch);
        return tf.add(
          crossEntropy(logits, batch.packed.targets),
          boxLoss(boxes, tf.tensor2d(saidBoxes(batch))),
        );
      }),
    validate: (weights) =>
      measureBoxes(data, (asked) => {
        const batch = open(asked);
        return { ...batch, ...answerBatch(model, weights, batch) };
      }),
  };
}

const rules: InitialRules = [
  [/^box_decoder\.layers\.2\./, { constant: 0 }],
  [/\.bias$/, { constant: 0 }],
  [/embed_tokens/, { std: 0.5 }],
];

/** Trains the stage; its projector then takes features as they are. */
export async function trainPerceptionGpt(
  model: Llava,
  dir: string,
  recipe: PerceptionGptRecipe,
  options: TrainOptions,
): Promise<Outcome<PerceptionGptWeights>> {
  const { scale, ...stage } = await createPerceptionGptStage(model, dir, recipe);
  const { weights } = await finish(stage, options);
  const folded = foldScale(weights.projector, scale);
  tf.dispose([weights.projector.linear_1, scale] as unknown as tf.TensorContainer);
  return { stage, weights: { ...weights, projector: folded } };
}

/** The model's weights, with rows for the two words; the rest drawn. */
function beginWeights(
  { config, projector, decoder }: Llava,
  scale: FeatureScale,
  seed: number,
): PerceptionGptWeights {
  return tf.tidy(() => {
    const drawn = initialise(perceptionGpt.table(config), createRandom(seed), rules);
    const { vocab_size: V, hidden_size: E } = config.text;
    const [from, more] = [decoder.weights, drawn.decoder];
    const rows = tf.slice(asFloat32(more.embed_tokens), [V, 0], [boxWords.length, E]);
    const columns = tf.slice(more.lm_head.weight as tf.Tensor2D, [0, V], [E, boxWords.length]);
    const begun: PerceptionGptWeights = {
      ...drawn,
      projector: unfoldScale(projector.weights, scale),
      decoder: {
        ...from,
        embed_tokens: tf.concat([asFloat32(from.embed_tokens), rows]),
        lm_head: { weight: tf.concat([from.lm_head.weight as tf.Tensor2D, columns], 1) },
      },
    };
    return copyTensors(begun) as unknown as tf.TensorContainer;
  }) as unknown as PerceptionGptWeights;
}

/** A scene's objects in any order, the first again where there are too few: some to locate, others to name. */
function drawBoxes(
  { scenes, random }: Asked,
  b: number,
  { locate, identify }: PerceptionGptRecipe,
): BoxQuestion[] {
  const take = (type: BoxQuestion['type'], count: number): BoxQuestion[] => {
    const taken: BoxQuestion[] = [];
    while (taken.length < count) {
      const asked = askBoxes(scenes[b], random).filter((question) => question.type === type);
      taken.push(...shuffle(random, asked));
    }
    return taken.slice(0, count);
  };
  return [...take('locate', locate), ...take('identify', identify)];
}

/**
 * What the model says to a batch, where it is to say it.
 * @returns logits [M, V] of the M targets, and the boxes [K, 4] that are read from the states which are to say the K `<loc>`
 *   among them
 */
export function answerBatch(
  { config, projector }: Pick<Llava, 'config' | 'projector'>,
  weights: PerceptionGptWeights,
  { features, about, ...prompted }: PerceptionGptBatch,
): { logits: tf.Tensor2D; boxes: tf.Tensor2D } {
  return tf.tidy(() => {
    const llama: Llama = { config: withBoxWords(config.text), weights: weights.decoder };
    const token = boxToken(config.text, weights);
    const visual = project({ config: projector.config, weights: weights.projector }, features);
    const numbers = about.map((questions) => questions.map(({ box }) => [...box]));
    const opened = openPacked(llama, visual, prompted, { token, numbers });
    const states = packedStates(llama, runPacked(llama, opened, 0, Infinity), prompted.packed); // [M, E]
    const said = prompted.packed.targets.flatMap((target, m) => (target === token.id ? [m] : []));
    return {
      logits: linear(weights.decoder.lm_head, states),
      boxes: token.read(tf.gather(states, said)),
    };
  });
}

/** What those `<loc>` stand for, [K][4]. */
const saidBoxes = ({ about }: Pick<PerceptionGptBatch, 'about'>): number[][] =>
  about.flat().flatMap(({ type, box }) => (type === 'locate' ? [[...box]] : []));

/** The ordinary questions' accuracy by type, and of the box questions: overlap, and the share of right names. */
function measureBoxes(
  data: LlavaData,
  answer: (asked: Asked) => PerceptionGptBatch & ReturnType<typeof answerBatch>,
): Record<string, number> {
  const overlaps: number[] = [];
  const names: boolean[] = [];
  const figures = measureAnswers(data.validation(), (asked: Asked) => {
    const answered = answer(asked);
    const { boxes, logits, packed, about } = answered;
    const truth = saidBoxes(answered);
    const said = tf.argMax(logits, 1).dataSync();
    overlaps.push(...boxes.arraySync().map((box, k) => overlap(box, truth[k])));
    for (const [b, firsts] of packed.firsts.entries()) {
      for (const [i, at] of firsts.slice(-about[b].length).entries()) {
        if (about[b][i].type === 'locate') continue;
        names.push([0, 1].every((word) => said[at + word] === packed.targets[at + word])); // colour and kind
      }
    }
    return answered;
  });
  const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
  return {
    overlap: mean(overlaps),
    half: mean(overlaps.map((x) => Number(x > 0.5))),
    names: mean(names.map(Number)),
    ...figures,
  };
}
