import * as tf from '@tensorflow/tfjs-core';
import { shape } from '../tensor/axes.ts';

/**
 * How much [CLS] attends to each patch in one layer: the mean over heads (the sum would rank the same).
 * @param clsAttention [B, H, P], after the softmax
 * @returns [B, P]
 */
export function scoreByCls(clsAttention: tf.Tensor3D): tf.Tensor2D {
  shape({ clsAttention }, 'B H P');
  return tf.mean(clsAttention, 1);
}
