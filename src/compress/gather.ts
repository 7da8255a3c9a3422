import * as tf from '@tensorflow/tfjs-core';
import { shape } from '../tensor/axes.ts';

/**
 * Picks each picture's kept tokens, in the order of `kept`.
 * The pictures are laid end to end first, [B·P, D]: wasm's gather with batchDims reads the wrong rows.
 * @param tokens [B, P, D]
 * @param kept [B, U] int32
 * @returns [B, U, D]
 */
export function gatherTokens(tokens: tf.Tensor3D, kept: tf.Tensor2D): tf.Tensor3D {
  return tf.tidy(() => {
    const { B, P, D } = shape({ tokens }, 'B P D');
    const { U } = shape({ kept }, 'B U', { B });
    const firstRow = tf.range(0, B * P, P, 'int32'); // of each picture
    const rows = tf.add(kept, tf.reshape(firstRow, [B, 1])); // [B, U]
    const picked = tf.gather(tf.reshape(tokens, [B * P, D]), tf.reshape(rows, [B * U]));
    return tf.reshape(picked, [B, U, D]);
  });
}
