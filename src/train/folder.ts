/** The parts of a model folder: what stands there before training, and the weights after it. */
import path from 'node:path';
import { writeSafetensors } from '../node/safetensors.ts';
import type { TensorToWrite } from '../io/safetensors.ts';

/** Writes a folder's `model.safetensors` in float16, which halves it and costs 3 decimal digits. */
export async function writeWeights(
  dir: string,
  tensors: Map<string, { shape: readonly number[]; data: Float32Array }>,
  metadata: Record<string, string>,
): Promise<void> {
  const narrow = [...tensors].map(([name, { shape, data }]): [string, TensorToWrite] => [
    name,
    { dtype: 'F16', shape, data },
  ]);
  await writeSafetensors(path.join(dir, 'model.safetensors'), new Map(narrow), { format: 'pt', ...metadata });
}

/** Pictures of the world are as large as the model takes them; bytes become −1 … 1. */
export const preprocessorConfig = (side: number): object => ({
  image_processor_type: 'CLIPImageProcessor',
  do_convert_rgb: true,
  do_resize: true,
  size: { shortest_edge: side },
  resample: 3,
  do_center_crop: true,
  crop_size: { height: side, width: side },
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.5, 0.5, 0.5],
});
