/** The loop that both stages share: batches in, weights out, with a checkpoint every few minutes. */
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { loadCheckpoint, saveCheckpoint, type TrainingState } from './checkpoint.ts';
import { registerGradients } from './gradients.ts';
import { openMetrics } from './metrics.ts';
import { adamw, startOptimizer, type AdamwOptions, type OptimizerState } from './optimizer.ts';
import { decayMask, fromVector, listTensors, replaceTensors, toVector } from './parameters.ts';
import { learningRate } from './schedule.ts';

/** How long and how fast a stage learns. */
export interface Pace {
  steps: number;
  /** The highest learning rate, and the steps until it is reached. */
  peak: number;
  warmUp: number;
  adamw: AdamwOptions;
  /** Steps between two looks at the validation split. */
  validateEvery: number;
}

/** What is trained, on what, and towards what. */
export interface Stage<W extends object, Batch> {
  name: string;
  pace: Pace;
  /** All else that the numbers depend on, as text; a checkpoint of another recipe is refused. */
  recipe: string;
  /** The weights to begin with; not disposed. */
  weights: W;
  /** No weight may exceed this, [n]. */
  most?: tf.Tensor1D;
  /** The batch of a step: the same whenever it is asked for. */
  draw(step: number): Batch;
  loss(weights: W, batch: Batch, step: number): tf.Scalar;
  /** Figures on the validation split, by name. */
  validate(weights: W): Record<string, number>;
}

export interface TrainOptions {
  /** Where the checkpoint and the metrics go. */
  folder: string;
  /** Forget the checkpoint that is there. */
  fresh?: boolean;
  /** Seconds between two checkpoints. */
  checkpointEvery: number;
  onProgress?: (progress: Progress) => void;
}

export interface Progress {
  stage: string;
  step: number;
  steps: number;
  loss: number;
  rate: number;
  secondsPerStep: number;
  secondsLeft: number;
  /** When this step was one that looked at the validation split. */
  validation?: Record<string, number>;
}

/**
 * Trains a stage to its last step, from its checkpoint if there is one.
 * @returns the trained weights; the caller disposes them
 */
export async function train<W extends object, Batch>(
  stage: Stage<W, Batch>,
  { folder, fresh = false, checkpointEvery, onProgress }: TrainOptions,
): Promise<W> {
  registerGradients();
  const { name, pace } = stage;
  const initial = listTensors(stage.weights);
  const file = path.join(folder, `${name}.checkpoint.safetensors`);
  const recipe = `${stage.recipe} ${JSON.stringify(pace)}`;
  const size = initial.reduce((sum, tensor) => sum + tensor.size, 0);
  const found = fresh ? undefined : await loadCheckpoint(file, size, recipe, pace.steps);
  let state: TrainingState = found ?? { step: 0, optimizer: startOptimizer(toVector(initial)) };
  const decays = decayMask(initial);
  const metrics = await openMetrics(path.join(folder, `${name}.metrics.jsonl`), state.step).catch(
    (error: unknown) => {
      tf.dispose([state.optimizer as tf.TensorContainer, decays]);
      throw error;
    },
  );
  const view = (vector: tf.Tensor1D): W => replaceTensors(stage.weights, fromVector(vector, initial));

  let saved = performance.now();
  let secondsPerStep: number | undefined;
  while (state.step < pace.steps) {
    const started = performance.now();
    const step = state.step + 1;
    const rate = learningRate(state.step, pace);
    const { loss, optimizer } = takeStep(stage, state, decays, rate);
    tf.dispose(state.optimizer);
    state = { step, optimizer };
    const isLast = step === pace.steps;
    const validation =
      isLast || step % pace.validateEvery === 0
        ? tf.tidy(() => stage.validate(view(optimizer.weights)))
        : undefined;
    metrics.add({ step, loss, rate, validation });

    const seconds = (performance.now() - started) / 1000;
    secondsPerStep = secondsPerStep === undefined ? seconds : 0.95 * secondsPerStep + 0.05 * seconds;
    const secondsLeft = secondsPerStep * (pace.steps - step);
    onProgress?.({
      stage: name,
      step,
      steps: pace.steps,
      loss,
      rate,
      secondsPerStep,
      secondsLeft,
      validation,
    });
    if (isLast || performance.now() - saved >= 1000 * checkpointEvery) {
      await metrics.flush(); // before the checkpoint: what is behind it will be said again
      await saveCheckpoint(file, state, recipe);
      saved = performance.now();
    }
  }
  const weights = tf.tidy(() => view(state.optimizer.weights) as tf.TensorContainer) as W;
  tf.dispose([state.optimizer as tf.TensorContainer, decays]);
  return weights;
}

/** One batch forward and back, and one update. */
export function takeStep<W extends object, Batch>(
  stage: Stage<W, Batch>,
  { step, optimizer }: TrainingState,
  decays: tf.Tensor1D,
  rate: number,
): { loss: number; optimizer: OptimizerState } {
  let loss = NaN;
  const next = tf.tidy(() => {
    const batch = stage.draw(step);
    const tensors = fromVector(optimizer.weights, listTensors(stage.weights));
    const { value, grads } = tf.valueAndGrads((...weights: tf.Tensor[]) =>
      stage.loss(replaceTensors(stage.weights, weights), batch, step),
    )(tensors);
    loss = value.dataSync()[0];
    const updated = adamw(optimizer, toVector(grads), decays, step + 1, rate, stage.pace.adamw);
    return stage.most
      ? { ...updated, weights: tf.minimum(updated.weights, stage.most) as tf.Tensor1D }
      : updated;
  });
  if (!Number.isFinite(loss)) throw new Error(`${stage.name}: the loss of step ${step + 1} is ${loss}`);
  return { loss, optimizer: next };
}
