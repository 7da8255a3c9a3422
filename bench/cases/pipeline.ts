/** The whole walk on a small LLaVA of real widths, with and without compression; and loading a bf16 checkpoint. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import type { LlavaConfig } from '../../src/checkpoint/architecture.ts';
import { loadModel, type Llava } from '../../src/checkpoint/load.ts';
import { weightTable } from '../../src/checkpoint/names.ts';
import { none } from '../../src/compress/none.ts';
import { vtcCls } from '../../src/compress/vtc-cls.ts';
import { visionMacs } from '../../src/cost.ts';
import { llamaTable } from '../../src/decoder/weights.ts';
import { writeSafetensors, type TensorToWrite } from '../../src/io/safetensors.ts';
import { leavesOf } from '../../src/io/weight-table.ts';
import { patchCount } from '../../src/vision/config.ts';
import { runVlm } from '../../src/vlm.ts';
import type { BenchCase } from '../harness.ts';
import { llamaShape, textTokens, visionShapes } from '../shapes.ts';
import { inputRecipe, inputTensor, normalPool, randomWeights } from '../weights.ts';
import type { Context } from './context.ts';
import { prefillFlops } from './decoder.ts';

const newTokens = 8;

/** ViT-B/16, a two-layer projector and 2 layers of the 1.1 B decoder; 196 patches, of which a quarter may stay. */
export function pipelineCases(context: Context): BenchCase[] {
  const vision = visionShapes['ViT-B/16'];
  const text = llamaShape(2);
  const [D, E, P] = [vision.hidden_size, text.hidden_size, patchCount(vision)];
  const config: LlavaConfig = {
    kind: 'llava',
    vision,
    projector: { kind: 'mlp2x', inner: D, out: E, hidden_act: 'gelu', bias: true },
    text,
    image_token_index: 3,
    vision_feature_layer: [vision.num_hidden_layers - 1],
    vision_feature_select_strategy: 'default',
  };
  const half = Array.from({ length: textTokens / 2 }, (_, i) => 100 + i);
  const input = inputRecipe('pixels', [1, vision.image_size, vision.image_size, 3]);
  const group = 'pipeline (ViT-B/16 + LLaMA 1.1 B shape, 2 layers)';
  const backends = context.backends.filter((backend) => context.full || backend === 'tensorflow');
  return backends.flatMap((backend) => {
    let held: { model: Llava; pixels: tf.Tensor4D; weights: tf.TensorContainer } | undefined;
    const kept = [
      [none, P],
      [vtcCls, Math.round(P / 4)],
    ] as const;
    return kept.map(([method, budget]): BenchCase => ({
      name: `picture to ${newTokens} tokens, ${method.name}, ${budget} of ${P} visual tokens`,
      group,
      runner: backend,
      backend,
      work: {
        flops:
          2 * (visionMacs(vision, vision.num_hidden_layers - 1) + budget * (D * E + E * E)) +
          prefillFlops(text, budget + textTokens),
      },
      prepare: async () => {
        if (held) return;
        const weights = await randomWeights(weightTable(config), group);
        const model = {
          config,
          vision: { config: vision, weights: weights.vision! },
          projector: { config: config.projector, weights: weights.projector! },
          decoder: { config: text, weights: weights.decoder! },
        } as Llava;
        held = { model, pixels: inputTensor(input), weights: weights as unknown as tf.TensorContainer };
      },
      run: async () => {
        const { tokens } = await runVlm(
          held!.model,
          { pixels: held!.pixels, prompts: [{ before: half, after: half }] },
          {
            method,
            methodOptions: method.defaults,
            budget,
            positions: 'contiguous',
            maxNewTokens: newTokens,
          },
        );
        return { digest: tokens[0] };
      },
      dispose: () => {
        tf.dispose([held?.pixels, held?.weights] as tf.TensorContainer);
        held = undefined;
      },
    }));
  });
}

/** A LLaMA folder of about 420 MB of bf16, just written and so in the file cache: 4 layers, a vocabulary of 8192. */
export function loadCases(context: Context): BenchCase[] {
  const backends = context.backends.filter((backend) => context.full || backend === 'tensorflow');
  const config = { ...llamaShape(4), vocab_size: 8192 };
  const leaves = leavesOf(llamaTable(config, 'model.', 'lm_head'));
  const sizeOf = (shape: number[]) => shape.reduce((product, n) => product * n, 1);
  const fileBytes = leaves.reduce((sum, { shape }) => sum + 2 * sizeOf(shape), 0);
  let folder: Promise<string> | undefined;
  let users = 0;
  return backends.map((backend): BenchCase => ({
    name: `load ${Math.round(fileBytes / 1e6)} MB of bf16`,
    group: 'load',
    runner: backend,
    backend,
    work: { bytes: fileBytes },
    prepare: async () => {
      users++;
      await (folder ??= writeFolder(config, leaves));
    },
    run: async () => {
      const dir = await folder!;
      const model = await loadModel(dir);
      const gain = model.decoder!.weights.norm;
      const digest = Array.from(await gain.data()).slice(0, 8);
      model.dispose();
      return { digest };
    },
    dispose: async () => {
      if (--users > 0 || !folder) return;
      await rm(await folder, { recursive: true, force: true });
      folder = undefined;
    },
  }));
}

async function writeFolder(
  config: ReturnType<typeof llamaShape>,
  leaves: { name: string; shape: number[] }[],
): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), 'vtc-bench-load-'));
  await writeFile(
    path.join(dir, 'config.json'),
    JSON.stringify({ ...config, model_type: 'llama', rope_scaling: null }),
  );
  const largest = Math.max(...leaves.map(({ shape }) => shape.reduce((product, n) => product * n, 1)));
  // bf16 is float32's upper half; all tensors are views of one buffer.
  const bits = new Uint32Array(normalPool().buffer);
  const values = Uint16Array.from({ length: largest }, (_, i) => bits[i % bits.length] >>> 16);
  const tensors: Record<string, TensorToWrite> = {};
  for (const { name, shape } of leaves) {
    const count = shape.reduce((product, n) => product * n, 1);
    tensors[name] = { dtype: 'BF16', shape, data: new Uint8Array(values.buffer, 0, 2 * count) };
  }
  const file = path.join(dir, 'model.safetensors');
  await writeSafetensors(file, tensors, { format: 'pt' });
  return dir;
}
