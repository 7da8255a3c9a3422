/** The two stages from beginning to end: a folder begun, a model trained into it, its curve drawn. */
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { digestFile } from '../node/files.ts';
import { startClipFolder, writeClipWeights } from './clip-folder.ts';
import { assemble, createClipStage } from './clip-stage.ts';
import { drawCurve } from './curve.ts';
import { foldScale } from './features.ts';
import { startLlavaFolder, writeLlavaWeights } from './llava-folder.ts';
import { createLlavaStage } from './llava-stage.ts';
import { describeTraining } from './provenance.ts';
import type { ClipRecipe, LlavaRecipe } from './recipe.ts';
import { loadTower } from './tower.ts';
import { train, type TrainOptions } from './train.ts';

/** Trains CLIP into `FOLDER/clip`. */
export async function trainClip(recipe: ClipRecipe, options: TrainOptions): Promise<void> {
  const dir = path.join(options.folder, 'clip');
  const config = await startClipFolder(dir, recipe);
  const stage = await createClipStage(dir, config, recipe);
  const weights = await train(stage, options);
  await writeClipWeights(dir, config, assemble(config, weights), describeTraining(stage, recipe));
  tf.dispose([weights, stage.weights, stage.most] as unknown as tf.TensorContainer);
  await drawStageCurve('clip', options.folder);
}

/**
 * Trains LLaVA into `FOLDER/NAME`, on a vision tower that is there.
 * @param source the folder of a CLIP, or of a LLaVA
 */
export async function trainLlava(
  recipe: LlavaRecipe,
  options: TrainOptions,
  source = path.join(options.folder, 'clip'),
  name = 'llava',
): Promise<void> {
  const { vision, postLayernorm, dispose } = await loadTower(source);
  const dir = path.join(options.folder, name);
  const config = await startLlavaFolder(dir, recipe, vision.config);
  const begun = await createLlavaStage(dir, config, vision, recipe, name);
  // Another tower, another run: a checkpoint that learned to read one cannot go on with the next.
  const tower = await digestFile(path.join(source, 'model.safetensors'));
  const stage = { ...begun, recipe: `${begun.recipe} ${tower}` };
  const { projector, decoder } = await train(stage, options);
  const folded = foldScale(projector, stage.scale);
  const model = {
    config,
    vision,
    projector: { config: config.projector, weights: folded },
    decoder: { config: config.text, weights: decoder },
  };
  await writeLlavaWeights(dir, model, postLayernorm, {
    ...describeTraining(stage, recipe),
    tower_sha256: tower,
  });
  tf.dispose([projector, decoder, folded, stage.weights, stage.scale] as unknown as tf.TensorContainer);
  dispose();
  await drawStageCurve(name, options.folder);
}

/** Draws what a stage's metrics say into `FOLDER/STAGE.svg`. */
export const drawStageCurve = (stage: string, folder: string): Promise<void> =>
  drawCurve(path.join(folder, `${stage}.metrics.jsonl`), path.join(folder, `${stage}.svg`), `stage ${stage}`);
