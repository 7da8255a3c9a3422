import * as tf from '@tensorflow/tfjs-core';
import { gatherTokens } from '../tensor/gather.ts';
import type { VisionFeatures } from './method.ts';

/** What a tower may show of its insides; see {@link VisionFeatures}. */
type Insides = Partial<
  Pick<VisionFeatures, 'clsAttention' | 'attention' | 'keys' | 'cls' | 'project' | 'relevance'>
>;

/**
 * Features that are there already, as a method takes them; to try a method without a tower.
 * @param patches F, [B, P, D]; like the insides it stays the caller's
 * @param insides what the method asks for, by layer; without a projector the decoder sees the features themselves
 */
export function featuresOf(patches: tf.Tensor3D, insides: Insides = {}): VisionFeatures {
  const [batch, P, D] = patches.shape;
  return {
    batch,
    patches: P,
    all: () => patches.clone(),
    at: (kept) => gatherTokens(patches, kept),
    cls: () => tf.zeros([batch, 1, D]),
    clsAttention: new Map(),
    attention: new Map(),
    keys: new Map(),
    project: (features) => features.clone(),
    relevance: () => tf.zeros([batch, P]),
    ...insides,
  };
}
