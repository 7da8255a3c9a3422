/** The trained systems against PyTorch: what they make of two pictures, and the derivatives that they learn by. */
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startBackend } from '../../../src/backend/start.ts';
import type { Llava } from '../../../src/checkpoint/load.ts';
import { dyvte, readText, runGate } from '../../../src/compress/trained/dyvte.ts';
import { mergeClusters, placePatches, setok } from '../../../src/compress/trained/setok.ts';
import { standardise, withWeights, type AnySystem } from '../../../src/compress/trained/system.ts';
import { compareGroups, mergeGroups, vistog } from '../../../src/compress/trained/vistog.ts';
import { prefill } from '../../../src/decoder/generate.ts';
import { spliceImage } from '../../../src/decoder/splice.ts';
import type { Role } from '../../../src/decoder/state.ts';
import { loadModel } from '../../../src/node/checkpoint.ts';
import { prepare } from '../../../src/plan.ts';
import { project } from '../../../src/projector.ts';
import { choose, see } from '../../../src/story.ts';
import { denseOf } from '../../../src/tensor/token-matrix.ts';
import { registerGradients } from '../../../src/train/gradients.ts';
import { crossEntropy } from '../../../src/train/losses.ts';
import { packQuestions } from '../../../src/train/pack.ts';
import { openPacked, readPacked, runPacked } from '../../../src/train/packed-decoder.ts';
import { listTensors, replaceTensors } from '../../../src/train/parameters.ts';
import { gateLoss } from '../../../src/train/systems/dyvte.ts';
import { assignStraight } from '../../../src/train/systems/vistog.ts';
import { runBeside } from '../../../src/vision/beside.ts';
import { runClipVision } from '../../../src/vision/clip.ts';
import { backendsUnderTest, describeEachBackend } from '../../support/backends.ts';
import { expectClose, golden, readExpected, type Expected } from '../../support/golden.ts';
import { tidyEachTest } from '../../support/random.ts';
import { readGoldenWeights } from '../../support/trained.ts';

const targets = [7, 11];

/** What both parts begin with. */
function open() {
  let file: Expected;
  let stored: Expected;
  let llava: Llava;
  let pixels: tf.Tensor4D;
  let prompts: { before: number[]; after: number[] }[];
  beforeAll(async () => {
    file = await readExpected(golden('trained.safetensors'));
    stored = await readExpected(golden('llava-v5keys', 'expected.safetensors'));
    llava = (await loadModel(golden('llava-v5keys'))).llava!;
    pixels = tf.keep(tf.transpose(await stored.float('pixel_values'), [0, 2, 3, 1]) as tf.Tensor4D);
    const image = llava.config.image_token_index;
    prompts = (await stored.ints('input_ids')).map((row) => ({
      before: row.slice(0, row.indexOf(image)),
      after: row.slice(row.lastIndexOf(image) + 1),
    }));
  });
  afterAll(async () => {
    await file.close();
    await stored.close();
  });
  const expected = (name: string) => file.float(name);

  /** Logits [B, V] of the last position, and the tokens that the system chose. */
  async function run(system: AnySystem, weights: object, budget: number) {
    const parts = { projector: llava.projector.weights, decoder: llava.decoder.weights };
    const method = withWeights(system, { weights: { ...parts, ...weights }, model: llava.config });
    const plan = prepare(llava.config, { method, methodOptions: method.defaults, budget });
    const seen = await see(llava, pixels, plan);
    const { tokens, W } = await choose(llava, seen, plan);
    const visual = project(plan.brings!.projector!, tokens);
    const rows: tf.Tensor[] = [];
    for (const [b, prompt] of prompts.entries()) {
      const input = spliceImage(plan.brings!.decoder!, [prompt], tf.slice(visual, [b, 0, 0], [1, -1, -1]));
      const { logits } = await prefill(plan.brings!.decoder!, input, { maxNewTokens: 0 });
      rows.push(tf.reshape(logits, [-1]));
    }
    return { tokens, W, logits: tf.stack(rows) };
  }

  /** The cross-entropy of each prompt's next token, as training reads it. @param tokens [B, U, D] */
  function lossOf(tokens: tf.Tensor3D): tf.Scalar {
    const visual = project(llava.projector, tokens);
    const { decoder } = llava;
    const logits = prompts.map(({ before, after }, b) => {
      const packed = packQuestions(
        [[{ ask: after, answer: [targets[b]] }]],
        before.length + tokens.shape[1],
        0,
      );
      const own = tf.slice(visual, [b, 0, 0], [1, -1, -1]);
      return readPacked(
        decoder,
        runPacked(decoder, openPacked(decoder, own, { before, packed }), 0, Infinity),
        packed,
      );
    });
    return crossEntropy(tf.concat(logits, 0), targets);
  }

  /** The loss and its derivatives, by the weights' names in the tree. */
  function derive<W extends object>(
    weights: W,
    loss: (weights: W) => tf.Scalar,
  ): { value: tf.Tensor; grads: W } {
    const tensors = listTensors(weights);
    const { value, grads } = tf.valueAndGrads((...all: tf.Tensor[]) => loss(replaceTensors(weights, all)))(
      tensors,
    );
    return { value: tf.reshape(value, [1]), grads: replaceTensors(weights, grads) };
  }
  return {
    expected,
    run,
    lossOf,
    derive,
    ints: (name: string) => file.ints(name),
    get llava() {
      return llava;
    },
    get pixels() {
      return pixels;
    },
    get prompts() {
      return prompts;
    },
    hidden: () => stored.float('decoder.hidden.01') as Promise<tf.Tensor3D>,
  };
}

const transposed = (x: unknown) => tf.transpose(x as tf.Tensor2D); // a matrix lies [in, out] here

/** What the gates see of the stored prompts: x [B, 2E]. */
const seeText = async ({ prompts, hidden }: ReturnType<typeof open>): Promise<tf.Tensor2D> => {
  const after = await hidden();
  const T = after.shape[1];
  const ofPrompt = ({ before, after: behind }: (typeof prompts)[number], b: number) => {
    const roles = [...Array(T).keys()].map((t): Role =>
      t < before.length || t >= T - behind.length ? 'text' : 'image',
    );
    return readText({ hidden: tf.slice(after, [b, 0, 0], [1, -1, -1]), roles: [roles] });
  };
  return tf.concat(prompts.map(ofPrompt), 0);
};

describeEachBackend('PyTorch’s trained systems', () => {
  tidyEachTest();
  const at = open();

  test('DyVTE’s gate', async () => {
    const weights = await readGoldenWeights('dyvte', dyvte.table(at.llava.config));
    const x = await seeText(at);
    expectClose(x, await at.expected('dyvte.expected.x'), 'x');
    expectClose(runGate(weights.gates[0], x), await at.expected('dyvte.expected.z'), 'z');
  });

  test('VisToG’s groups and tokens, and what the decoder makes of them', async () => {
    const { tokens, grouping, scale } = vistog.table(at.llava.config);
    const made = await at.run(vistog, await readGoldenWeights('vistog', { tokens, grouping, scale }), 13);
    expectClose(denseOf(made.W), await at.expected('vistog.expected.W'), 'W');
    expectClose(made.tokens, await at.expected('vistog.expected.tokens'), 'tokens');
    expectClose(made.logits, await at.expected('vistog.expected.logits'), 'logits');
  });

  test('SeTok’s clusters and tokens, and what the decoder makes of them', async () => {
    const { merger, scale } = setok.table(at.llava.config);
    const made = await at.run(setok, await readGoldenWeights('setok', { merger, scale }), 5);
    const labels = await at.ints('setok.expected.labels');
    const found = made.W.rows.map((rows) => labels[0].map((_, p) => rows.findIndex((row) => row.has(p))));
    expect(found).toEqual(labels);
    expectClose(made.tokens, await at.expected('setok.expected.tokens'), 'tokens');
    expectClose(made.logits, await at.expected('setok.expected.logits'), 'logits');
  });
});

const backends = ['cpu', ...backendsUnderTest.filter((name) => name === 'tensorflow')];

describe.each(backends)('PyTorch’s losses and derivatives of trained systems on %s', (backend) => {
  beforeAll(async () => {
    await startBackend(backend);
    registerGradients();
  });
  tidyEachTest();
  const at = open();

  test('DyVTE’s gate', async () => {
    const weights = await readGoldenWeights('dyvte', dyvte.table(at.llava.config));
    const x = await seeText(at);
    const { value, grads } = at.derive(weights, (w) => gateLoss(w, { layer: 0, x, labels: [1, 0] }));
    expectClose(value, await at.expected('dyvte.expected.loss'), 'loss');
    expectClose(transposed(grads.gates[0].w1.weight), await at.expected('dyvte.expected.w1'), 'dW₁');
    expectClose(transposed(grads.gates[0].w2.weight), await at.expected('dyvte.expected.w2'), 'dW₂');
    expect(tf.max(tf.abs(grads.gates[1].w1.weight as tf.Tensor)).dataSync()[0]).toBe(0);
  });

  test('VisToG’s grouping, under given noise', async () => {
    const { tokens, grouping, scale } = vistog.table(at.llava.config);
    const weights = await readGoldenWeights('vistog', { tokens, grouping, scale });
    const [last] = at.llava.config.vision_feature_layer;
    const { hidden } = runClipVision(at.llava.vision, at.pixels, { hidden: [...Array(last + 1).keys()] });
    const F = standardise(tf.slice(hidden.get(last)!, [0, 1, 0], [-1, -1, -1]), weights.scale);
    const beside = (own: tf.Tensor2D) =>
      standardise(runBeside(at.llava.vision, hidden, own, last), weights.scale);
    const noise = await at.expected('vistog.expected.noise');
    const { value, grads } = at.derive({ tokens: weights.tokens[13], grouping: weights.grouping }, (w) => {
      const g = beside(w.tokens);
      const z = compareGroups(w.grouping, g, F);
      return at.lossOf(mergeGroups(w.grouping, g, F, assignStraight(tf.add(z, noise))));
    });
    const g = beside(weights.tokens[13]);
    expectClose(g, await at.expected('vistog.expected.g'), 'g');
    expectClose(compareGroups(weights.grouping, g, F), await at.expected('vistog.expected.z'), 'z');
    expectClose(value, await at.expected('vistog.expected.loss'), 'loss');
    expectClose(grads.tokens, await at.expected('vistog.expected.d.tokens.13'), 'd tokens', 2e-4);
    for (const name of ['query', 'value'] as const) {
      const torch = await at.expected(`vistog.expected.d.grouping.${name}.weight`);
      expectClose(transposed(grads.grouping[name].weight), torch, `d ${name}`, 2e-4);
    }
  });

  test('SeTok’s merger', async () => {
    const { merger, scale } = setok.table(at.llava.config);
    const weights = await readGoldenWeights('setok', { merger, scale });
    const { W } = await at.run(setok, weights, 5);
    const { features } = await see(at.llava, at.pixels, { needs: {} });
    const P = W.columns;
    const x = placePatches(standardise(features.F(), weights.scale), [...Array(P).keys()], Math.sqrt(P));
    expectClose(x, await at.expected('setok.expected.x'), 'x');
    const { value, grads } = at.derive(weights.merger, (w) => at.lossOf(mergeClusters(w, x, denseOf(W))));
    expectClose(value, await at.expected('setok.expected.loss'), 'loss');
    const torch = (name: string) => at.expected(`setok.expected.d.merger.${name}`);
    const { inner, inter, out } = grads;
    expectClose(
      transposed(inner.attention[0].qkv.weight),
      await torch('inner.attention.0.qkv.weight'),
      'd qkv',
      2e-4,
    );
    expectClose(inter.norm1.weight, await torch('inter.norm1.weight'), 'd norm', 2e-4);
    expectClose(transposed(out.weight), await torch('out.weight'), 'd out', 2e-4);
  });
});
