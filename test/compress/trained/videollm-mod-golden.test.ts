/** VideoLLM-MoD against PyTorch's numbers: forward, loss, and the gradient of its scorers by autograd. */
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startBackend } from '../../../src/backend/start.ts';
import { withWeights } from '../../../src/compress/trained/system.ts';
import { videoLlmMod, type ScorerWeights } from '../../../src/compress/trained/videollm-mod.ts';
import { spliceFrames } from '../../../src/decoder/splice-frames.ts';
import type { Llama } from '../../../src/decoder/llama.ts';
import { loadTree } from '../../../src/io/load-tree.ts';
import { loadModel } from '../../../src/node/checkpoint.ts';
import { registerGradients } from '../../../src/train/gradients.ts';
import { packQuestions } from '../../../src/train/pack.ts';
import { listTensors, replaceTensors } from '../../../src/train/parameters.ts';
import { answerClips } from '../../../src/train/video-decoder.ts';
import { videoLoss } from '../../../src/train/video-stage.ts';
import { backendsUnderTest, describeEachBackend } from '../../support/backends.ts';
import { expectClose, golden, readExpected, type Expected } from '../../support/golden.ts';
import { runHooked } from '../../support/hooks.ts';
import { hookOf, sourceOf } from '../../support/methods.ts';
import { tidyEachTest } from '../../support/random.ts';

const [before, ask, answer] = [[1, 92, 103], [109, 60, 10], [19, 67]]; // prettier-ignore
const [B, F, n, kept] = [2, 4, 4, 2];

let file: Expected;
let stored: Expected;
beforeAll(async () => {
  file = await readExpected(golden('videollm-mod.safetensors'));
  stored = await readExpected(golden('llava-v5keys', 'expected.safetensors'));
});
afterAll(async () => {
  await file.close();
  await stored.close();
});

/** The golden checkpoint's two layers three times over, and the scorers of layers 0, 2 and 4. */
async function readCase(): Promise<{ llama: Llama; scorers: ScorerWeights; visual: tf.Tensor3D }> {
  const { decoder, config } = (await loadModel(golden('llava-v5keys'))).llava!;
  const layers = [0, 1, 2].flatMap(() => decoder.weights.layers);
  const llama = {
    config: { ...decoder.config, num_hidden_layers: layers.length },
    weights: { ...decoder.weights, layers },
  };
  const table = videoLlmMod.table({ ...config, text: llama.config });
  const source = {
    dir: 'golden',
    tensors: new Map(),
    readFloat32: async (name: string) => (await file.float(name)).data<'float32'>(),
  };
  const { scorers } = (await loadTree(source, table)) as { scorers: ScorerWeights };
  const visual = (await stored.float('projector.output')) as tf.Tensor3D; // [B, F·n, E]
  return { llama, scorers, visual };
}

describeEachBackend('PyTorch’s VideoLLM-MoD', () => {
  tidyEachTest();

  test.each(['sigmoid', 'one'])('gate %s: who goes through each layer, and the logits', async (gate) => {
    const { llama, scorers, visual } = await readCase();
    const { config } = (await loadModel(golden('llava-v5keys'))).llava!;
    const method = withWeights(videoLlmMod, {
      weights: { scorers },
      model: { ...config, text: llama.config },
    });
    const hook = hookOf(method, sourceOf({ patches: n, decoderLayers: 6, frames: F }), kept, {
      pool: 1,
      gate,
    });
    const between = Array.from({ length: F - 1 }, () => []);
    const prompts = Array.from({ length: B }, () => ({ before, between, after: [...ask, answer[0]] }));
    const frames = tf.reshape<tf.Rank.R3>(visual, [B * F, n, visual.shape[2]]);
    const run = await runHooked(llama, spliceFrames(llama, prompts, frames), hook);
    for (const [l, positions] of run.positions.entries()) {
      expect(positions, `layer ${l}`).toEqual(await file.ints(`${gate}.places.0${l}`));
    }
    expectClose(run.logits, await file.float(`${gate}.logits`), 'logits', 2e-5);
  });
});

// wasm has no kernel for the gradient of a gather: training runs on tensorflow.
const backends = ['cpu', ...backendsUnderTest.filter((name) => name === 'tensorflow')];

describe.each(backends)('PyTorch’s training of VideoLLM-MoD, on %s', (backend) => {
  beforeAll(async () => {
    await startBackend(backend);
    registerGradients();
  });
  tidyEachTest();

  test('the loss, and its gradient by every scorer', async () => {
    const { llama, scorers, visual } = await readCase();
    const packed = packQuestions(Array.from({ length: B }, () => [{ ask, answer }]), before.length + F * n, 0); // prettier-ignore
    const depths = { tokens: n, budget: kept, patches: n };
    const tells = Array.from({ length: B * F * n }, (_, i) => i % n === 0);
    const tellings = { targets: tells.map((first) => (first ? 5 : 2)), tells };
    const lossOf = (current: ScorerWeights) =>
      videoLoss(
        answerClips(llama, visual, { before, packed }, { ...depths, scorers: current }),
        { packed, tellings },
        0.5,
      );
    const { value, grads } = tf.valueAndGrads((...tensors: tf.Tensor[]) =>
      lossOf(replaceTensors(scorers, tensors)),
    )(listTensors(scorers));
    expectClose(tf.reshape(value, [1]), await file.float('loss'), 'loss', 1e-5);
    const names = [0, 2, 4].flatMap((l) => [`${l}.weight`, `${l}.bias`]);
    for (const [i, name] of names.entries()) {
      const expected = await file.float(`gradient.${name}`); // [1, E] or [1]
      expectClose(tf.reshape(grads[i], expected.shape), expected, name, 1e-4);
    }
  });
});
