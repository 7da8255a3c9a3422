/**
 * What a process finds on WebGPU, as one line of JSON: `node --import tsx webgpu-process.ts`. In a process of its own, since
 * a driver may end it, and a device may keep it from ending.
 */
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { startBackend } from '../../src/backend/start.ts';
import { none } from '../../src/compress/none.ts';
import { prefill } from '../../src/decoder/generate.ts';
import { spliceImage } from '../../src/decoder/splice.ts';
import { messageOf } from '../../src/errors.ts';
import { loadModel, readPreprocessConfig } from '../../src/node/checkpoint.ts';
import { readAsker } from '../../src/node/inputs.ts';
import { project } from '../../src/projector.ts';
import { backendTraits } from '../../src/tensor/traits.ts';
import { drawPixels } from '../../src/train/pictures.ts';
import { choose, see } from '../../src/story.ts';
import { prepare } from '../../src/plan.ts';
import { patchCount } from '../../src/vision/config.ts';
import { askScene } from '../../src/world/questions.ts';
import { createScene } from '../../src/world/scene.ts';
import { compareModel } from '../models/parity.ts';
import { golden } from '../support/golden.ts';

const refusalOf = async (run: () => unknown): Promise<string> => {
  try {
    return `no error, but ${String(await run())}`;
  } catch (error) {
    return `${(error as Error).name}: ${messageOf(error)}`;
  }
};
const device = () =>
  (tf.backend() as unknown as { device: { destroy(): void; limits: Record<string, number> } }).device;
/** 3 of numbers that the device computes. */
const three = async () => (await tf.tidy(() => tf.matMul(tf.ones([1, 3]), tf.ones([3, 1]))).data())[0];

async function checkReads(): Promise<object> {
  const largest = device().limits['maxStorageBufferBindingSize'];
  const found = {
    three: await three(),
    argMax: tf.argMax(tf.tensor1d([1, 5, 2])).shape,
    argMin: [...(await tf.argMin(tf.tensor2d([[3, 1]]), 1).data())],
    dataSync: await refusalOf(() => tf.add(tf.ones([2]), 1).dataSync()),
    held: [...tf.tensor1d([1, 2]).dataSync()],
    memory: await refusalOf(() =>
      backendTraits().requireMemory({ matrices: [largest + 1], others: 0 }, 'DIR'),
    ),
    fits: await refusalOf(() => backendTraits().requireMemory({ matrices: [largest], others: 0 }, 'DIR')),
    largest,
  };
  const side = Math.ceil(Math.sqrt(largest / 4)) + 1;
  const sum = tf.tidy(() => tf.sum(tf.add(tf.zeros([side, side]), 1)));
  const beside = tf.add(tf.ones([2]), 1);
  const reads = [refusalOf(() => sum.data()), refusalOf(() => beside.data())]; // one may not hide it from the other
  const overLimit = [...(await Promise.all(reads)), await refusalOf(three)];
  await startBackend('webgpu');
  const mended = await three();
  device().destroy();
  const lost = [await refusalOf(three), await refusalOf(three)];
  await startBackend('webgpu');
  return { ...found, overLimit, mended, lost, again: await three() };
}

/** The shipped model's logits of a scene's first question. */
async function answer(): Promise<Float32Array> {
  const dir = path.join(import.meta.dirname, '../../weights/llava');
  const llava = (await loadModel(dir)).llava!;
  const { ask } = await readAsker(dir, llava.config);
  const scene = createScene('test', 0);
  const pixels = drawPixels([scene], await readPreprocessConfig(dir, llava.config.vision.image_size));
  const budget = patchCount(llava.config.vision);
  const plan = prepare(llava.config, { method: none, methodOptions: {}, budget });
  const { tokens } = await choose(llava, await see(llava, pixels, plan), plan);
  const prompt = spliceImage(
    llava.decoder,
    [ask(askScene(scene)[0].question)],
    project(llava.projector, tokens),
  );
  const { logits } = await prefill(llava.decoder, prompt, { maxNewTokens: 1 });
  return logits.data<'float32'>();
}

const started = await startBackend('webgpu').catch((error: unknown) => {
  console.log(JSON.stringify({ missing: messageOf(error) }));
  process.exit();
});
const reads = await checkReads();
const models: Record<string, unknown> = {};
for (const name of ['clip-model', 'clip-vision', 'llama-bias', 'llava-full-llama3'])
  models[name] = await compareModel(golden(name));
const logits = await answer();
await startBackend('wasm');
const wasm = await answer();
console.log(JSON.stringify({ started, reads, models, shipped: { logits: [...logits], wasm: [...wasm] } }));
