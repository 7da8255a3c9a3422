/** The state of a training run as one file, so that a run that was killed goes on where it was. */
import { existsSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { openSafetensors, writeSafetensors, type TensorToWrite } from '../io/safetensors.ts';
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
 * @returns undefined when there is no such file
 * @throws UserError for a file of another recipe
 */
export async function loadCheckpoint(
  file: string,
  size: number,
  recipe: string,
): Promise<TrainingState | undefined> {
  if (!existsSync(file)) return undefined;
  const saved = await openSafetensors(file);
  try {
    const step = Number(saved.metadata['step']);
    if (saved.metadata['recipe'] !== recipe || !Number.isSafeInteger(step)) {
      throw new UserError(`${file} is of a run with another recipe or seed: give --fresh to begin again`);
    }
    const read = async (name: keyof OptimizerState) => {
      const values = await saved.readFloat32(name);
      if (values.length !== size)
        throw new UserError(`${file}: ${name} has ${values.length} values, not ${size}`);
      return tf.tensor1d(values);
    };
    return {
      step,
      optimizer: { weights: await read('weights'), mean: await read('mean'), square: await read('square') },
    };
  } finally {
    await saved.close();
  }
}
