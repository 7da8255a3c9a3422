/**
 * Stage 2: LLaVA. A projector and a decoder learn to answer questions about what the frozen CLIP tower sees, and to
 * describe it: nearly every word of a description hangs on finding the patch that the words before it speak of, which
 * is what questions need, and eight one-word answers teach it several times more slowly.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { LlavaConfig } from '../checkpoint/architecture.ts';
import { weightTable } from '../checkpoint/names.ts';
import type { Llama } from '../decoder/llama.ts';
import type { LlamaWeights } from '../decoder/weights.ts';
import { project, type ProjectorWeights } from '../projector.ts';
import { createRandom } from '../random.ts';
import type { ClipVision } from '../vision/clip.ts';
import type { Scene } from '../world/scene.ts';
import { measureFeatures, readFeatures, standardise, type FeatureScale } from './features.ts';
import { initialise, type InitialRules } from './initialise.ts';
import { createScenes, firstIndex, measureAnswers, openLlavaData, type Asked } from './llava-data.ts';
import { compressPacked, stageAt, type Compression } from './llavolta.ts';
import { crossEntropy } from './losses.ts';
import type { Prompted } from './pack.ts';
import { openPacked, readPacked, runPacked } from './packed-decoder.ts';
import type { Told } from './provenance.ts';
import type { LlavaRecipe } from './recipe.ts';
import type { Stage } from './train.ts';

export interface LlavaStageWeights {
  projector: ProjectorWeights; // of standardised features
  decoder: LlamaWeights;
}

export interface LlavaBatch extends Prompted {
  features: tf.Tensor3D; // [B, P, D], standardised
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
 * @param name of the files that a run leaves
 */
export async function createLlavaStage(
  dir: string,
  config: LlavaConfig,
  vision: ClipVision,
  recipe: LlavaRecipe,
  name = 'llava',
): Promise<Told<Stage<LlavaStageWeights, LlavaBatch>> & { scale: FeatureScale }> {
  const { pace, seed, pictures } = recipe;
  const data = await openLlavaData(dir, config, recipe);
  const { projector, decoder } = weightTable(config);
  const weights: LlavaStageWeights = initialise(
    { projector: projector!, decoder: decoder! },
    createRandom(seed),
    rules,
  );
  const look = (scenes: readonly Scene[], patches?: readonly number[]) =>
    tf.tidy(() => readFeatures(vision, data.pixels(scenes), config, patches));
  const scale = measureFeatures(createScenes('train', firstIndex(seed), recipe.standardise), pictures, look);
  const drawBatch = (asked: Asked): LlavaBatch => {
    const patches = data.patches(asked.scenes); // those of the padding left out
    const features = tf.tidy(() => standardise(look(asked.scenes, patches), scale));
    return { features, ...data.prompt(asked, patches.length) };
  };

  return {
    name,
    pace,
    recipe: JSON.stringify({ ...recipe, pace: undefined }),
    weights,
    scale,
    draw: (step) => drawBatch(data.step(step)),
    tell: (step) => data.tell(step),
    loss: (current, batch, step) =>
      tf.tidy(() => {
        const logits = answerLogits(config, current, batch, stageAt(recipe.compressor, step / pace.steps));
        return crossEntropy(logits, batch.packed.targets);
      }),
    validate: (current) =>
      measureAnswers(data.validation(), (asked) => {
        const batch = drawBatch(asked);
        return { ...batch, logits: answerLogits(config, current, batch, stageAt(recipe.compressor, 1)) };
      }),
  };
}

/**
 * What the decoder says where answers are due: the layers of inference, under the mask of packed questions.
 * @param compression before one layer, of the picture's tokens
 * @returns [M, V], a row for each of the M targets
 */
export function answerLogits(
  { text, projector: projectorConfig }: LlavaConfig,
  { projector, decoder }: LlavaStageWeights,
  { features, before, packed }: Pick<LlavaBatch, 'features' | 'before' | 'packed'>,
  compression?: Compression,
): tf.Tensor2D {
  return tf.tidy(() => {
    const llama: Llama = { config: text, weights: decoder };
    const visual = project({ config: projectorConfig, weights: projector }, features);
    let state = openPacked(llama, visual, { before, packed });
    const cut = compression?.layer ?? 0;
    state = runPacked(llama, state, 0, cut);
    if (!compression) return readPacked(llama, runPacked(llama, state, cut, Infinity), packed);
    const { state: shorter, rows } = compressPacked(llama, state, packed, before.length, compression.stride);
    return readPacked(llama, runPacked(llama, shorter, cut, Infinity), { rows });
  });
}
