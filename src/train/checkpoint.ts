/** The state of a training run as one file, so that a run that was killed goes on where it was. */
import { existsSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { openSafetensors, writeSafetensors } from '../node/safetensors.ts';
import type { TensorToWrite } from '../io/safetensors.ts';
import type { OptimizerState } from './optimizer.ts';

/** A run between two steps. The step is the data's position too, and what seeds its draws. */
export interface TrainingState {
  /** Steps done. */
  step: number;
  optimizer: OptimizerState;
}

/** @param recipe all that a run's numbers depend on, as text: another recipe cannot go on from here */
export async function saveCheckpoint(file: string, state: TrainingState, recipe: string): Promise<void> {
  const tensors: Record<string, TensorToWrite> = {};
  for (const [name, vector] of Object.entries(state.optimizer)) {
    tensors[name] = { dtype: 'F32', shape: vector.shape, data: await vector.data<'float32'>() };
  }
  await writeSafetensors(file, tensors, { step: String(state.step), recipe });
}

/**
 * @param size n, the number of weights
 * @param steps how many the run has in all
 * @returns undefined when there is no such file
 * @throws UserError for a file of another recipe, or one that no run of this recipe can have left
 */
export async function loadCheckpoint(
  file: string,
  size: number,
  recipe: string,
  steps: number,
): Promise<TrainingState | undefined> {
  if (!existsSync(file)) return undefined;
  const saved = await openSafetensors(file);
  try {
    const told = saved.metadata['step'] ?? '';
    const step = Number(told);
    if (saved.metadata['recipe'] !== recipe) {
      throw new UserError(`${file} is of a run with another recipe or seed: give --fresh to begin again`);
    }
    if (!/^[1-9]\d*$/.test(told) || step > steps) {
      throw new UserError(
        `${file} is of step ${JSON.stringify(told)}, not of 1 to ${steps}: give --fresh to begin again`,
      );
    }
    const read = async (name: keyof OptimizerState) => {
      const found = saved.tensors.get(name);
      if (found?.dtype !== 'F32' || found.shape.length !== 1 || found.shape[0] !== size) {
        const is = found ? `is ${found.dtype} [${found.shape.join(', ')}]` : 'is missing';
        throw new UserError(`${file}: ${name} ${is}, should be F32 [${size}]: give --fresh to begin again`);
      }
      const values = await saved.readFloat32(name);
      const bad = values.find((x) => !Number.isFinite(x) || (name === 'square' && x < 0));
      if (bad !== undefined) {
        throw new UserError(`${file}: ${name} holds ${bad}: give --fresh to begin again`);
      }
      return values;
    };
    const [weights, mean, square] = [await read('weights'), await read('mean'), await read('square')];
    const optimizer = { weights: tf.tensor1d(weights), mean: tf.tensor1d(mean), square: tf.tensor1d(square) };
    return { step, optimizer };
  } finally {
    await saved.close();
  }
}
