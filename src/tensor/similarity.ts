/** How alike tokens are, and weighted sums of them; each picture by itself. */
import * as tf from '@tensorflow/tfjs-core';
import { shape } from './axes.ts';

/**
 * W·X picture by picture: 2-D products, for a batched one is slow on wasm.
 * @param weights [B, U, N], how much of each token goes into which new one
 * @param tokens [B, N, D]
 * @returns [B, U, D]
 */
export function mixTokens(weights: tf.Tensor3D, tokens: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => {
    const { B, U, N } = shape({ weights }, 'B U N');
    const { D } = shape({ tokens }, 'B N D', { B, N });
    const item = (x: tf.Tensor3D, b: number, rows: number, columns: number): tf.Tensor2D =>
      tf.reshape(tf.slice(x, [b, 0, 0], [1, rows, columns]), [rows, columns]);
    const mixed = Array.from({ length: B }, (_, b) =>
      tf.matMul(item(weights, b, U, N), item(tokens, b, N, D)),
    );
    return tf.stack(mixed) as tf.Tensor3D;
  });
}

/**
 * The cosine of every two tokens of a picture; of a token of zeros it is 0 with all.
 * @param tokens [B, N, D]
 * @returns [B, N, N]
 */
export function cosines(tokens: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => {
    shape({ tokens }, 'B N D');
    const length = tf.maximum(tf.norm(tokens, 'euclidean', 2, true), 1e-12); // [B, N, 1]
    const unit: tf.Tensor3D = tf.div(tokens, length);
    return mixTokens(unit, tf.transpose(unit, [0, 2, 1]));
  });
}

/**
 * |x − y|² = |x|² − 2x·y + |y|² of every two tokens of a picture, never below 0.
 * @param tokens [B, N, D]
 * @returns [B, N, N]
 */
export function squaredDistances(tokens: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => {
    const { B, N } = shape({ tokens }, 'B N D');
    const squares = tf.sum(tf.square(tokens), 2); // [B, N]
    const sums = tf.add(tf.reshape(squares, [B, N, 1]), tf.reshape(squares, [B, 1, N]));
    const products = mixTokens(tokens, tf.transpose(tokens, [0, 2, 1]));
    return tf.relu(tf.sub(sums, tf.mul(2, products)));
  });
}
