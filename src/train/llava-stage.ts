/**
 * Stage 2: LLaVA. A projector and a decoder learn to answer questions about what the frozen CLIP tower sees, and to
 * describe it: nearly every word of a description hangs on finding the patch that the words before it speak of, which
 * is what questions need, and eight one-word answers teach it several times more slowly.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { LlavaConfig } from '../checkpoint/architecture.ts';
import { weightTable } from '../checkpoint/names.ts';
import { llamaBlock } from '../decoder/block.ts';
import { readLogits, type Llama } from '../decoder/llama.ts';
import { createRope, ropeAt } from '../decoder/rope.ts';
import { createRandom, pick, type Random } from '../random.ts';
import { spliceImage } from '../decoder/splice.ts';
import type { LlamaWeights } from '../decoder/weights.ts';
import { readPreprocessConfig } from '../node/checkpoint.ts';
import { project, type ProjectorWeights } from '../projector.ts';
import type { ClipVision } from '../vision/clip.ts';
import { askScene, type Question } from '../world/questions.ts';
import { frameOf, framePatches, wholeFrame, type Frame } from '../world/frame.ts';
import { createScene, side, type Scene, type Split } from '../world/scene.ts';
import { hashText } from '../world/split.ts';
import { readTrainingPrompts, type TrainingPrompts } from './ask.ts';
import { measureFeatures, readFeatures, standardise, type FeatureScale } from './features.ts';
import { initialise, type InitialRules } from './initialise.ts';
import { crossEntropy } from './losses.ts';
import { packedMask, packedPositions, packQuestions, type Packed } from './pack.ts';
import { drawPixels } from './pictures.ts';
import { sceneText, type Told } from './provenance.ts';
import type { LlavaRecipe } from './recipe.ts';
import type { Stage } from './train.ts';

export interface LlavaStageWeights {
  projector: ProjectorWeights; // of standardised features
  decoder: LlamaWeights;
}

export interface LlavaBatch {
  features: tf.Tensor3D; // [B, P, D], standardised
  before: number[];
  packed: Packed;
  questions: Question[][]; // [B][questions]
}

const rules: InitialRules = [
  [/norm\.weight$/, { constant: 1 }],
  [/layernorm\.weight$/, { constant: 1 }],
  [/\.bias$/, { constant: 0 }],
  [/embed_tokens/, { std: 0.5 }],
];

/**
 * @param dir the folder that `startLlavaFolder` began
 * @param vision the trained tower, which stays as it is
 */
export async function createLlavaStage(
  dir: string,
  config: LlavaConfig,
  vision: ClipVision,
  recipe: LlavaRecipe,
): Promise<Told<Stage<LlavaStageWeights, LlavaBatch>> & { scale: FeatureScale }> {
  const { pace, seed, pictures, questions } = recipe;
  const preprocessing = await readPreprocessConfig(dir, config.vision.image_size);
  const prompts = await readTrainingPrompts(dir, config);
  const { projector, decoder } = weightTable(config);
  const weights: LlavaStageWeights = initialise(
    { projector: projector!, decoder: decoder! },
    createRandom(seed),
    rules,
  );
  const look = (scenes: readonly Scene[]) =>
    tf.tidy(() => readFeatures(vision, drawPixels(scenes, preprocessing), config));
  const scale = measureFeatures(createScenes('train', firstIndex(seed), recipe.standardise), pictures, look);

  const drawScenes = (step: number) =>
    createScenes('train', firstIndex(seed) + step * pictures, pictures, drawFrame(recipe, step));
  const drawAsked = (scenes: readonly Scene[], draws: string) => {
    const random = createRandom(hashText(draws));
    return { asked: scenes.map((scene) => askScene(scene, random, questions)), random };
  };
  const drawBatch = (scenes: readonly Scene[], draws: string): LlavaBatch => {
    const { asked, random } = drawAsked(scenes, draws);
    const features = tf.tidy(() => {
      const all = standardise(look(scenes), scale); // [B, P, D]
      return tf.gather(all, framePatches(scenes[0].frame ?? wholeFrame, config.vision.patch_size), 1); // those of the padding left out
    });
    return { features, questions: asked, ...packBatch(prompts, scenes, asked, features.shape[1], random) };
  };

  return {
    name: 'llava',
    pace,
    recipe: JSON.stringify({ ...recipe, pace: undefined }),
    weights,
    scale,
    draw: (step) => drawBatch(drawScenes(step), `questions ${seed} ${step}`),
    tell(step) {
      const scenes = drawScenes(step);
      const { asked } = drawAsked(scenes, `questions ${seed} ${step}`);
      return [
        ...scenes.map(sceneText),
        ...asked.flat().map(({ question, answer }) => `${question} ${answer}`),
      ].join('\n');
    },
    loss: (current, batch) =>
      tf.tidy(() => crossEntropy(answerLogits(config, current, batch), batch.packed.targets)),
    validate(current) {
      const right = new Map<string, boolean[]>();
      for (let first = 0; first < recipe.validation; first += pictures) {
        tf.tidy(() => {
          const batch = drawBatch(createScenes('validation', first, pictures), `validation ${first}`);
          const said = tf.argMax(answerLogits(config, current, batch), 1).dataSync();
          for (const [b, asked] of batch.questions.entries()) {
            for (const [q, question] of asked.entries()) {
              const at = batch.packed.firsts[b][q];
              const isRight = said[at] === batch.packed.targets[at];
              right.set(question.type, [...(right.get(question.type) ?? []), isRight]);
            }
          }
        });
      }
      const share = (cases: boolean[]) => cases.filter(Boolean).length / cases.length;
      const byType = [...right].sort().map(([type, cases]) => [type, share(cases)] as const);
      return { accuracy: share([...right.values()].flat()), ...Object.fromEntries(byType) };
    },
  };
}

/**
 * Questions begin 0 to so many places behind the picture, as the later turns of a conversation do. At one distance only,
 * a decoder may tell patches by how far they are, and not by what their features say of their place.
 */
const mostGap = 96;

/** No two seeds train on the same scenes. */
const firstIndex = (seed: number): number => seed * 1_000_000;

const createScenes = (split: Split, first: number, count: number, frame?: Frame): Scene[] =>
  Array.from({ length: count }, (_, i) => createScene(split, first + i, frame));

/** The shape of a step's pictures. */
function drawFrame({ seed, frames }: LlavaRecipe, step: number): Frame | undefined {
  const random = createRandom(hashText(`frame ${seed} ${step}`));
  const [width, height] = [pick(random, frames), pick(random, frames)];
  return width === side && height === side ? undefined : frameOf(width, height);
}

function packBatch(
  { before, filler, tokens, describe }: TrainingPrompts,
  scenes: readonly Scene[],
  asked: readonly Question[][],
  patches: number,
  random: Random,
): Pick<LlavaBatch, 'before' | 'packed'> {
  const ids = scenes.map((scene, b) => [...asked[b].map(tokens), describe(scene)]);
  const gaps = ids[0].map(() => Math.floor(random() * mostGap));
  return { before, packed: packQuestions(ids, before.length + patches, filler, gaps) };
}

/**
 * What the decoder says where answers are due: the layers of inference, under the mask of packed questions.
 * @returns [M, V], a row for each of the M targets
 */
export function answerLogits(
  { text, projector: projectorConfig }: LlavaConfig,
  { projector, decoder }: LlavaStageWeights,
  { features, before, packed }: Pick<LlavaBatch, 'features' | 'before' | 'packed'>,
): tf.Tensor2D {
  return tf.tidy(() => {
    const llama: Llama = { config: text, weights: decoder };
    const visual = project({ config: projectorConfig, weights: projector }, features);
    const prompts = packed.after.map((after) => ({ before, after }));
    let { hidden } = spliceImage(llama, prompts, visual); // [B, T, E]
    const [B, T, E] = hidden.shape;
    const positions = packedPositions(packed.layout);
    const rope = ropeAt(createRope(text, text.max_position_embeddings), positions); // one row serves the batch
    const mask = packedMask(packed.layout);
    for (const layer of decoder.layers) hidden = llamaBlock(layer, hidden, text, { rope, mask }).hidden;
    const rows = tf.gather(tf.reshape(hidden, [B * T, E]), tf.tensor1d(packed.rows, 'int32'));
    const logits = readLogits(llama, tf.reshape(rows, [1, packed.rows.length, E]));
    return tf.reshape(logits, [packed.rows.length, text.vocab_size]);
  });
}
