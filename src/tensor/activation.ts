import * as tf from '@tensorflow/tfjs-core';

/** Value by value; any shape. */
export type Activation = <T extends tf.Tensor>(x: T) => T;

/** x·σ(1.702x): the sigmoid approximation of GELU that OpenAI's CLIP was trained with. */
const quickGelu: Activation = (x) => tf.tidy(() => tf.mul(x, tf.sigmoid(tf.mul(x, 1.702))));

/** x·Φ(x) = x/2·(1 + erf(x/√2)): the exact GELU. */
const gelu: Activation = (x) =>
  tf.tidy(() => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1)));

/** x/2·(1 + tanh(√(2/π)·(x + 0.044715x³))): GELU's tanh approximation. */
const geluTanh: Activation = (x) =>
  tf.tidy(() => {
    const inner = tf.mul(tf.add(x, tf.mul(tf.mul(tf.square(x), x), 0.044715)), Math.sqrt(2 / Math.PI));
    return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
  });

/** x·σ(x), also called swish. */
const silu: Activation = (x) => tf.tidy(() => tf.mul(x, tf.sigmoid(x)));

const relu: Activation = (x) => tf.relu(x);

/** The activations by the names Hugging Face configs use in `hidden_act`. */
export const activations = {
  quick_gelu: quickGelu,
  gelu,
  gelu_pytorch_tanh: geluTanh,
  gelu_new: geluTanh,
  silu,
  swish: silu,
  relu,
} satisfies Record<string, Activation>;

export type ActivationName = keyof typeof activations;
export const activationNames = Object.keys(activations) as ActivationName[];
