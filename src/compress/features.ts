import type * as tf from '@tensorflow/tfjs-core';
import { gatherTokens } from '../tensor/gather.ts';
import type { VisionFeatures } from './method.ts';

/**
 * Features that are there already, as a method takes them; to try a method without a tower.
 * @param patches F, [B, P, D]; like the attention it stays the caller's
 * @param clsAttention the [CLS] rows by layer, [B, H, P]
 * @param attention full attention by layer, [B, H, N, N]
 */
export function featuresOf(
  patches: tf.Tensor3D,
  clsAttention: VisionFeatures['clsAttention'] = new Map(),
  attention: VisionFeatures['attention'] = new Map(),
): VisionFeatures {
  return {
    batch: patches.shape[0],
    patches: patches.shape[1],
    all: () => patches.clone(),
    at: (kept) => gatherTokens(patches, kept),
    clsAttention,
    attention,
  };
}
