/** What the training of a system needs besides its stage: the model that it starts from, and a folder at the end. */

import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import type { Llava } from '../../checkpoint/load.ts';
import type { AnySystem } from '../../compress/trained/system.ts';
import { storeTree } from '../../io/weight-table.ts';
import { loadModel } from '../../node/checkpoint.ts';
import { makeFolder } from '../../node/files.ts';
import { shippedModel } from '../../node/shipped.ts';
import { scope } from '../../tensor/scope.ts';
import { writeWeights } from '../folder.ts';
import { describeTraining, type Told } from '../provenance.ts';
import { drawStageCurve } from '../stages.ts';
import { train, type Pace, type Stage, type TrainOptions } from '../train.ts';

/** What every recipe of a system says. */
export interface SystemRecipe {
  pace: Pace;
  seed: number;
}

/** A stage that trains a system on a model. */
export type SystemStage<Weights extends object, Batch> = Told<Stage<Weights, Batch>>;

/** Trains a stage, and frees what it began with. */
export async function finish<Weights extends object, Batch>(
  stage: SystemStage<Weights, Batch>,
  options: TrainOptions,
): Promise<Outcome<Weights>> {
  const weights = await train(stage, options);
  tf.dispose(stage.weights as unknown as tf.TensorContainer);
  return { stage, weights };
}

/** Scenes that no stage of the shipped models has seen: theirs are of seeds from 0. */
export const dataSeed = (seed: number): number => 100 + seed;

/** What a system's training comes to: its weights, and the stage that they come from last. */
export interface Outcome<Weights extends object> {
  weights: Weights;
  stage: Told<{ name: string; pace: Pace }>;
}

/**
 * Trains a system on the shipped LLaVA, into `FOLDER/NAME/model.safetensors`.
 * @param run its stages, once the model is there
 */
export async function trainSystem<Weights extends object>(
  { name, table }: AnySystem,
  recipe: SystemRecipe,
  run: (model: Llava, dir: string) => Promise<Outcome<Weights>>,
  options: TrainOptions,
): Promise<void> {
  using own = scope();
  const folder = path.join(options.folder, name);
  await makeFolder(folder);
  const dir = shippedModel();
  const { llava } = own(await loadModel(dir)) as { llava: Llava };
  const { stage, weights } = await run(llava, dir);
  const tensors = await storeTree(table(llava.config), weights);
  await writeWeights(folder, tensors, describeTraining(stage, recipe));
  tf.dispose(weights as unknown as tf.TensorContainer);
  await drawStageCurve(stage.name, options.folder);
}
