import * as tf from '@tensorflow/tfjs-core';

/**
 * A backend that loads may still compute nothing, or the wrong thing. Runs the ops everything here rests on
 * against values known on paper.
 * @throws Error naming the op, what came out and what should have
 */
export async function prove(name: string): Promise<void> {
  const tensors = tf.tidy(() => {
    const a = tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3]);
    const b = tf.tensor2d([1, 0, 0, 1, 1, 1], [3, 2]);
    return {
      matMul: tf.matMul(a, b),
      softmax: tf.softmax(tf.tensor1d([0, Math.log(3)])),
      gather: tf.gather(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor1d([1, 0], 'int32')),
      erf: tf.erf(tf.tensor1d([0.5])),
    };
  });
  const expected = { matMul: [4, 5, 10, 11], softmax: [0.25, 0.75], gather: [3, 4, 1, 2], erf: [0.5204999] };
  try {
    for (const [op, values] of Object.entries(expected)) {
      const actual = await tensors[op as keyof typeof tensors].data();
      if (values.length !== actual.length || values.some((x, i) => !(Math.abs(x - actual[i]) < 1e-5))) {
        throw new Error(`${name} computes ${op} wrong: [${actual.join(', ')}] for [${values.join(', ')}]`);
      }
    }
  } finally {
    tf.dispose(tensors);
  }
}
