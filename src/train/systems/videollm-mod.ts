/**
 * A video LLaVA, and then VideoLLM-MoD (compress/trained/videollm-mod.ts). The first starts from the shipped LLaVA, as the
 * paper's starts from a trained language model, and all tokens go through all its layers; the second goes on from it, with a
 * scorer in every other layer.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import type { LlavaConfig } from '../../checkpoint/architecture.ts';
import type { Model } from '../../checkpoint/load.ts';
import { videoLlmMod } from '../../compress/trained/videollm-mod.ts';
import { UserError } from '../../errors.ts';
import { storeTree } from '../../io/weight-table.ts';
import { loadModel } from '../../node/checkpoint.ts';
import { digestFile, makeFolder } from '../../node/files.ts';
import { shippedModel } from '../../node/shipped.ts';
import { scope } from '../../tensor/scope.ts';
import { videoTokenizer } from '../../world/vocabulary.ts';
import { foldScale } from '../features.ts';
import { writeWeights } from '../folder.ts';
import { startLlavaFolder, writeLlavaWeights } from '../llava-folder.ts';
import { describeTraining } from '../provenance.ts';
import type { VideoRecipe } from '../recipe.ts';
import { drawStageCurve } from '../stages.ts';
import { train, type TrainOptions } from '../train.ts';
import { createVideoStage } from '../video-stage.ts';
import { dataSeed } from './run.ts';

/** Where a run starts from and what it leaves, folders. */
interface Route {
  from: string;
  /** Of the model; the scorers, where the recipe has any, go into `videollm-mod` beside it. */
  to: string;
  /** Of the checkpoint, the metrics and the curve. */
  name: string;
  /** Of the clips. */
  seed: number;
}

/** `vtc train --system video-full` */
export const trainVideoFull = (recipe: VideoRecipe, options: TrainOptions): Promise<void> =>
  trainVideo(recipe, options, {
    from: shippedModel(),
    to: path.join(options.folder, 'video-full'),
    name: 'video-full',
    seed: recipe.seed,
  });

/**
 * `vtc train --system videollm-mod`
 * @throws UserError where there is no video LLaVA to start from
 */
export async function trainVideoLlmMod(recipe: VideoRecipe, options: TrainOptions): Promise<void> {
  const from = path.join(options.folder, 'video-full');
  if (!existsSync(path.join(from, 'model.safetensors'))) {
    throw new UserError(`${from} has no model to start from: vtc train --system video-full makes it`);
  }
  const seed = dataSeed(recipe.seed); // clips that the first has not seen
  await trainVideo(recipe, options, {
    from,
    to: path.join(options.folder, 'video'),
    name: videoLlmMod.name,
    seed,
  });
}

async function trainVideo(
  recipe: VideoRecipe,
  options: TrainOptions,
  { from, to, name, seed }: Route,
): Promise<void> {
  using own = scope();
  const { llava } = own(await loadModel(from)) as Required<Model>;
  const { clip } = own(await loadModel(shippedModel('clip'))) as Required<Model>;
  const { vision, text } = llava.config;
  const decoder = { ...plainSizes(text), max_position_embeddings: recipe.max_position_embeddings };
  const config = await startLlavaFolder(to, { decoder }, vision, videoTokenizer());
  const begun = await createVideoStage(to, config, llava, { ...recipe, seed }, name);
  const start = await digestFile(path.join(from, 'model.safetensors')); // from another model it is another run
  const stage = { ...begun, recipe: `${begun.recipe} ${start}` };
  const weights = await train(stage, options);
  const told = { ...describeTraining(stage, recipe), start_sha256: start };
  const projector = { config: config.projector, weights: foldScale(weights.projector, stage.scale) };
  const trained = {
    config,
    vision: llava.vision,
    projector,
    decoder: { config: config.text, weights: weights.decoder },
  };
  await writeLlavaWeights(to, trained, clip.weights.post_layernorm, told);
  if (Object.keys(weights.scorers).length > 0) {
    const folder = path.join(options.folder, videoLlmMod.name);
    await makeFolder(folder);
    await writeWeights(folder, await storeTree(videoLlmMod.table(config), weights), told);
  }
  tf.dispose([weights, projector.weights, stage.weights, stage.scale] as unknown as tf.TensorContainer);
  await drawStageCurve(name, options.folder);
}

/** What a config.json says of a decoder's sizes. */
const plainSizes = ({
  hidden_size,
  intermediate_size,
  num_hidden_layers,
  num_attention_heads,
  num_key_value_heads,
}: LlavaConfig['text']) => ({
  hidden_size,
  intermediate_size,
  num_hidden_layers,
  num_attention_heads,
  num_key_value_heads,
});
