/** What the page asks of the model is what the rest of this project says. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startBackend } from '../../src/backend/start.ts';
import { loadModel, type Model } from '../../src/checkpoint/load.ts';
import { parseVariants } from '../../src/eval/run/variant.ts';
import { readPreprocessConfig } from '../../src/image/preprocess.ts';
import { readAsker, takePicture, type Asker } from '../../src/inputs.ts';
import { diskFolder } from '../../src/node/folder.ts';
import { openEngine, type Engine } from '../../src/page/engine/engine.ts';
import { openOwnClip } from '../../src/page/engine/own-clip.ts';
import { memoryFolder } from '../../src/page/engine/memory-folder.ts';
import { prepareAnswer } from '../../src/plan.ts';
import { answer } from '../../src/story.ts';
import { scope } from '../../src/tensor/scope.ts';
import { createTrace } from '../../src/tensor/trace.ts';
import { drawWorld } from '../../src/world/draw.ts';
import { createScene } from '../../src/world/scene.ts';
import { askScene } from '../../src/world/questions.ts';
import { readFile } from 'node:fs/promises';

const folder = diskFolder('weights/llava');
let engine: Engine;
let model: Model;
let asker: Asker;
beforeAll(async () => {
  await startBackend('wasm');
  engine = await openEngine(folder);
  await engine.addClip(diskFolder('weights/clip'));
  model = await loadModel(folder);
  asker = await readAsker(folder, model.llava!.config);
});
afterAll(() => {
  engine.dispose();
  model.dispose();
});

const scene = createScene('test', 3);
const picture = drawWorld(scene);
const [{ question }] = askScene(scene);

/** The same question through story.ts, in one go. */
async function askPlainly(text: string, name: string, budget: number) {
  using own = scope();
  const { config } = model.llava!;
  const { pixels } = takePicture(
    picture,
    await readPreprocessConfig(folder, config.vision.image_size),
    config.vision.image_size,
  );
  own(pixels);
  const prompt = asker.ask(text);
  const decoding = { maxNewTokens: 1 };
  const plan = prepareAnswer(config, { ...parseVariants(name)[0], budget }, [prompt], decoding, [0]);
  const trace = own(
    createTrace((step) => ['decoder.logits', 'vision.clsAttention.LL', 'vision.attention.LL'].includes(step)),
  );
  const made = await answer(model.llava!, pixels, [prompt], plan, { ...decoding, trace });
  const V = config.text.vocab_size;
  return { ...made, trace, logits: [...(await trace.tensors.get('decoder.logits')!.data()).slice(-V)] };
}

test.each(['vtc-cls', 'prumerge', 'tome', 'fastv', 'sparsevlm', 'downsample'])(
  '%s answers as in the story',
  async (name) => {
    await engine.look(picture);
    const told = await engine.ask(question, { method: name, budget: 25 });
    if ('refused' in told) throw new Error(told.refused);
    const plain = await askPlainly(question, name, 25);
    expect(told.layerTokens).toEqual(plain.prefillLengths);
    const most = Math.max(...plain.logits);
    const shift = most + Math.log(plain.logits.reduce((sum, x) => sum + Math.exp(x - most), 0));
    for (const [i, x] of plain.logits.entries()) expect(told.logs[i]).toBeCloseTo(x - shift, 4);
    if (plain.kept) expect(told.stops.at(-1)!.kept).toEqual(plain.kept[0]);
    const hurried = await engine.ask(question, { method: name, budget: 25 }, true);
    expect('logs' in hurried && hurried.logs).toEqual(told.logs);
  },
);

test('every method that there is can be asked, and leaves no tensor', async () => {
  await engine.look(picture);
  const before = tf.memory().numTensors;
  for (const { name } of engine.facts.methods) {
    const told = await engine.ask(question, { method: name, budget: name === 'none' ? 100 : 25 });
    expect(told, name).not.toHaveProperty('refused');
    expect(await engine.inside(question, { method: name, budget: 25 })).not.toHaveProperty('refused');
  }
  await engine.look(picture);
  expect(tf.memory().numTensors).toBe(before);
});

test('what cannot be is a sentence, and the next question is answered', async () => {
  await engine.look(picture);
  const before = tf.memory().numTensors;
  expect(await engine.ask(question, { method: 'vtc-cls', budget: 0 })).toEqual({
    refused: expect.stringContaining('0') as string,
  });
  expect(await engine.ask(question, { method: 'nobody', budget: 5 })).toHaveProperty('refused');
  expect(await engine.ask('word '.repeat(300), { method: 'none', budget: 100 })).toHaveProperty('refused');
  expect(tf.memory().numTensors).toBe(before);
  expect(await engine.ask(question, { patches: [0, 99] })).toMatchObject({ stops: [{ kept: [0, 99] }] });
  expect(engine.unknownWords('what Colour is the zebra ?')).toEqual(['zebra']);
});

test('the choice does not depend on the question', async () => {
  await engine.look(picture);
  const kept = async (text: string) => {
    const told = await engine.ask(text, { method: 'vtc-cls', budget: 17 }, true);
    return 'stops' in told && told.stops[0].kept;
  };
  const first = await kept(question);
  for (const { question } of askScene(scene)) expect(await kept(question)).toEqual(first);
});

test('a cell of the attention is explained by its own numbers, and equals the map’s', async () => {
  const { cls } = await engine.look(picture);
  await fc.assert(
    fc.asyncProperty(fc.nat(3), fc.nat(3), fc.nat(99), async (layer, head, patch) => {
      const cell = await engine.explain(layer, head, patch);
      const score = cell.q.reduce((sum, x, i) => sum + x * cell.k[i], 0) / Math.sqrt(cell.q.length);
      const sum = cell.scores.reduce((total, x) => total + Math.exp(x), 0);
      expect(cell.score).toBeCloseTo(score, 10);
      expect(cell.attention).toBeCloseTo(Math.exp(score) / sum, 10);
      expect(cell.attention).toBeCloseTo(cls[layer][head][patch], 5);
    }),
    { numRuns: 20 },
  );
});

test('what is received is the mean over what is given, and the answer’s look is shared out whole', async () => {
  const { received, norms } = await engine.look(picture);
  const { trace } = await askPlainlyWatched();
  for (let l = 0; l < engine.facts.visionLayers; l++) {
    const attention = (await trace.tensors.get(`vision.attention.0${l}`)!.array()) as number[][][][];
    const [H, N] = [attention[0].length, attention[0][0].length];
    for (const p of [0, 42, 99]) {
      const mean =
        attention[0].reduce((sum, head) => sum + head.reduce((rows, row) => rows + row[1 + p], 0), 0) /
        (H * N);
      expect(received[l][p]).toBeCloseTo(mean, 6);
    }
    const [tokens] = (await trace.tensors.get(`vision.hidden.0${l + 1}`)!.array()) as number[][][];
    for (const p of [0, 42, 99]) expect(norms[l][p]).toBeCloseTo(Math.hypot(...tokens[1 + p]), 3);
  }
  trace.dispose();
  for (const method of ['vtc-cls', 'fastv', 'prumerge']) {
    const inside = await engine.inside(question, { method, budget: 25 });
    if ('refused' in inside) throw new Error(inside.refused);
    for (const [l, values] of inside.onPatches.entries()) {
      const all = [...values, ...inside.onText[l]].reduce((sum, x) => sum + x, 0);
      expect(all, `${method}, layer ${l}`).toBeCloseTo(1, 4);
    }
    const told = await engine.ask(question, { method, budget: 25 }, true);
    expect(inside.lens.at(-1)).toEqual('logs' in told && told.logs);
  }
});

/** A run of the tower whose trace the caller disposes. */
async function askPlainlyWatched() {
  using own = scope();
  const { config } = model.llava!;
  const S = config.vision.image_size;
  const { pixels } = takePicture(picture, await readPreprocessConfig(folder, S), S);
  own(pixels);
  const prompt = asker.ask(question);
  const plan = prepareAnswer(
    config,
    { ...parseVariants('none')[0], budget: 100 },
    [prompt],
    { maxNewTokens: 1 },
    [0],
  );
  const trace = createTrace((step) => step === 'vision.attention.LL' || step === 'vision.hidden.LL');
  await answer(model.llava!, pixels, [prompt], plan, { maxNewTokens: 1, trace });
  return { trace };
}

test('a CLIP from memory is looked through as the model’s own tower', async () => {
  const files = new Map<string, Blob>();
  for (const name of ['config.json', 'model.safetensors', 'preprocessor_config.json']) {
    files.set(name, new Blob([await readFile(`weights/clip/${name}`)]));
  }
  const own = await openOwnClip(memoryFolder('your CLIP', files));
  expect(own.facts).toEqual({ layers: 4, heads: 4, grid: 10, side: 80 });
  const seen = await own.look(picture, 3);
  const { cls } = await engine.look(picture);
  for (const p of [0, 50, 99]) {
    expect(seen.cls[3][p]).toBeCloseTo(cls[3].reduce((sum, head) => sum + head[p], 0) / 4, 4);
  }
  const told = await engine.ask(question, { method: 'vtc-cls', budget: 10 }, true);
  expect(seen.order.slice(0, 10).sort((a, b) => a - b)).toEqual('stops' in told && told.stops[0].kept);
  own.dispose();
  files.delete('model.safetensors');
  await expect(openOwnClip(memoryFolder('your CLIP', files))).rejects.toThrow(/your CLIP/);
});
