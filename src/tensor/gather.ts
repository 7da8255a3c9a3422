import * as tf from '@tensorflow/tfjs-core';
import { shape } from './axes.ts';

/**
 * Picks tokens of each picture, in the order of their indices.
 * The pictures are laid end to end first, [B·N, D]: wasm's gather with batchDims reads the wrong rows.
 * @param tokens [B, N, D]
 * @param kept [B, U] int32
 * @returns [B, U, D]
 */
export function gatherTokens(tokens: tf.Tensor3D, kept: tf.Tensor2D): tf.Tensor3D {
  return tf.tidy(() => {
    const { B, N, D } = shape({ tokens }, 'B N D');
    const { U } = shape({ kept }, 'B U', { B });
    const firstRow = tf.range(0, B * N, N, 'int32'); // of each picture
    const rows = tf.add(kept, tf.reshape(firstRow, [B, 1])); // [B, U]
    const picked = tf.gather(tf.reshape(tokens, [B * N, D]), tf.reshape(rows, [B * U]));
    return tf.reshape(picked, [B, U, D]);
  });
}
