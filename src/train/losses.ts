import * as tf from '@tensorflow/tfjs-core';
import { shape } from '../tensor/axes.ts';

/**
 * −mean log softmax(logits)[target].
 * @param logits [M, V]
 * @param targets M ids
 */
export function crossEntropy(logits: tf.Tensor2D, targets: readonly number[]): tf.Scalar {
  return tf.tidy(() => {
    const { V } = shape({ logits }, 'M V', { M: targets.length });
    const oneHot = tf.oneHot(tf.tensor1d([...targets], 'int32'), V);
    return tf.neg(tf.div(tf.sum(tf.mul(tf.logSoftmax(logits), oneHot)), targets.length));
  });
}

/**
 * CLIP's contrastive loss (van den Oord et al.'s InfoNCE, both ways): each picture is to find its own text among all,
 * and each text its picture.
 * @param logits [B, M], row i and column i belong together; the M − B columns after them are texts of no picture
 */
export function infoNce(logits: tf.Tensor2D): tf.Scalar {
  return tf.tidy(() => {
    const { B } = shape({ logits }, 'B M');
    const own = Array.from({ length: B }, (_, i) => i);
    const ofTexts = tf.transpose(tf.slice(logits, [0, 0], [B, B]));
    return tf.mul(tf.add(crossEntropy(logits, own), crossEntropy(ofTexts, own)), 0.5);
  });
}

/**
 * Binary cross-entropy of W independent yes-or-no questions, softplus(x) − x·y: summed over them, the mean over B.
 * @param logits [B, W]
 * @param targets [B, W], 0 or 1
 */
export function binaryCrossEntropy(logits: tf.Tensor2D, targets: tf.Tensor2D): tf.Scalar {
  return tf.tidy(() => tf.mean(tf.sum(tf.sub(tf.softplus(logits), tf.mul(logits, targets)), 1)));
}
