import * as tf from '@tensorflow/tfjs-core';
import { messageOf, UserError } from '../errors.ts';
import { prove } from '../backend/prove.ts';
import { startBackend } from '../backend/start.ts';
import { none } from '../compress/none.ts';
import { vtcCls } from '../compress/vtc-cls.ts';
import { prepareAnswer } from '../plan.ts';
import { createRandom } from '../random.ts';
import { answer } from '../story.ts';
import { scope } from '../tensor/scope.ts';
import { createTrace } from '../tensor/trace.ts';
import { smallModel } from '../testing/tiny-model.ts';
import { requireBuild, type NativeDevice } from '../backend/native.ts';

/**
 * Computes known values with native TensorFlow: products, softmax, gathers and a gradient, and a small LLaVA beside plain
 * JavaScript, which runs every kernel that an answer needs.
 * @param folder a build; undefined for the one that `--backend tensorflow` would take
 * @returns TensorFlow's version
 * @throws UserError naming what is wrong
 */
export async function proveTensorflow(folder: string | undefined, device: NativeDevice): Promise<string> {
  try {
    if (folder === undefined) await startBackend('tensorflow');
    else requireBuild(folder, device);
    await prove('tensorflow'); // matMul, softmax, gather from rows, erf
    await proveGather();
    await proveGradient();
    await proveModel();
  } catch (error) {
    throw new UserError(messageOf(error));
  }
  const backend = tf.backend() as unknown as {
    isUsingGpuDevice?: boolean;
    binding?: { TF_Version?: string };
  };
  if (device === 'cuda' && !backend.isUsingGpuDevice) {
    throw new UserError('it sees no GPU: nvidia-smi should show one, and a driver that is new enough');
  }
  if (device === 'cuda') console.error(`4096³ in float32: ${(await productRate()).toFixed(0)} GFLOP/s`);
  return backend.binding?.TF_Version ?? 'unknown';
}

async function proveGather(): Promise<void> {
  const x = tf.tensor2d([10, 11, 12, 20, 21, 22], [2, 3]);
  const picked = tf.gather(x, tf.tensor2d([2, 0, 1, 1], [2, 2], 'int32'), 1, 1);
  await expectValues('gather with batchDims', picked, [12, 10, 21, 21]);
}

/** f(a) = Σ (a·b)² has the gradient 2·(a·b)·bᵀ. */
async function proveGradient(): Promise<void> {
  const a = tf.tensor2d([1, 2, 3, 4], [2, 2]);
  const b = tf.tensor2d([1, 0, 2, 1], [2, 2]); // a·b = [5 2; 11 4]
  const gradient = tf.grad((x) => tf.sum(tf.square(tf.matMul(x, b))))(a);
  await expectValues('the gradient of a product', gradient, [10, 24, 22, 52]);
}

/** A small LLaVA's first logits, uncut and pruned, and what it says. */
async function proveModel(): Promise<void> {
  const answers: number[][] = [];
  for (const name of ['cpu', 'tensorflow']) {
    if (name === 'cpu') await startBackend('cpu');
    else await tf.setBackend(name);
    using own = scope();
    const model = own(smallModel(createRandom(3), 3));
    const { image_size: S } = model.config.vision;
    const random = createRandom(4);
    const pixels = own(tf.tensor4d(Float32Array.from({ length: S * S * 3 }, random), [1, S, S, 3]));
    const prompts = [{ before: [1, 4], after: [5, 6] }];
    const values: number[] = [];
    for (const [method, budget] of [
      [none, 9],
      [vtcCls, 4],
    ] as const) {
      const options = { maxNewTokens: 3 };
      const chosen = { method, methodOptions: method.defaults, budget };
      const trace = own(createTrace((step) => step === 'decoder.logits'));
      const { tokens } = await answer(
        model,
        pixels,
        prompts,
        prepareAnswer(model.config, chosen, prompts, options),
        {
          ...options,
          trace,
        },
      );
      values.push(...tokens[0]);
      for (const logits of trace.tensors.values()) values.push(...(await logits.data()));
    }
    answers.push(values);
  }
  const [expected, found] = answers;
  const wrong = found.findIndex((x, i) => !(Math.abs(x - expected[i]) < 1e-4));
  if (wrong < 0 && found.length === expected.length) return;
  throw new Error(`a small LLaVA comes out as ${found[wrong]} where plain JavaScript has ${expected[wrong]}`);
}

/** GFLOP/s, the best of three. */
async function productRate(n = 4096): Promise<number> {
  using own = scope();
  const [a, b] = [own(tf.ones([n, n])), own(tf.ones([n, n]))];
  let least = Infinity;
  for (let i = 0; i < 4; i++) {
    const start = performance.now();
    const product = tf.matMul(a, b);
    await tf.tidy(() => tf.slice(tf.reshape(product, [-1]), 0, 1)).data();
    product.dispose();
    if (i > 0) least = Math.min(least, performance.now() - start); // the first compiles
  }
  return (2 * n ** 3) / least / 1e6;
}

async function expectValues(op: string, actual: tf.Tensor, expected: number[]): Promise<void> {
  const values = [...(await actual.data())];
  if (values.length === expected.length && expected.every((x, i) => Math.abs(x - values[i]) < 1e-5)) return;
  throw new Error(`${op} came out as [${values.join(', ')}] for [${expected.join(', ')}]`);
}
