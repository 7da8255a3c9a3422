/** The frozen vision tower that LLaVA's stage looks through. */
import * as tf from '@tensorflow/tfjs-core';
import { publishedNames, unusedNames, weightTable } from '../checkpoint/names.ts';
import { UserError } from '../errors.ts';
import { loadTree } from '../io/load-tree.ts';
import { checkNames, norm } from '../io/weight-table.ts';
import { openWeights, readArchitecture } from '../node/checkpoint.ts';
import type { LayerNorm } from '../tensor/norm.ts';
import type { ClipVision } from '../vision/clip.ts';
import { side } from '../world/scene.ts';
import { patchSize } from './clip-folder.ts';

export interface Tower {
  vision: ClipVision;
  /** CLIP's norm of [CLS], which no LLaVA reads and every published tower has. */
  postLayernorm: LayerNorm;
  /** Frees the weights. */
  dispose: () => void;
}

/**
 * @param dir the folder of a CLIP, or of a LLaVA: its tower is a CLIP's
 * @throws UserError for weights that do not fit their config, or a tower that is not of the world's pictures
 */
export async function loadTower(dir: string): Promise<Tower> {
  const architecture = await readArchitecture(dir);
  const { vision: config } = architecture.kind === 'decoder' ? {} : architecture;
  if (config?.image_size !== side || config.patch_size !== patchSize) {
    const found = config
      ? `a tower of ${config.image_size} pixels a side in patches of ${config.patch_size}`
      : 'no vision tower';
    throw new UserError(
      `${dir} has ${found}: the world's pictures need one of ${side} pixels in patches of ${patchSize}`,
    );
  }
  const files = await openWeights(dir);
  try {
    const source = publishedNames(files, architecture);
    const whole = weightTable(architecture);
    checkNames(source, whole, unusedNames(architecture));
    const prefix = architecture.kind === 'llava' ? 'vision_tower.vision_model' : 'vision_model';
    const postLayernorm = norm(`${prefix}.post_layernorm`, config.hidden_size);
    const weights = await loadTree(source, { vision: whole.vision!, postLayernorm });
    return {
      vision: { config, weights: weights.vision },
      postLayernorm: weights.postLayernorm,
      dispose: () => tf.dispose(weights as unknown as tf.TensorContainer),
    };
  } finally {
    await files.close();
  }
}
