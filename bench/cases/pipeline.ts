/** The whole walk on a small LLaVA of real widths, with and without compression. */
import * as tf from '@tensorflow/tfjs-core';
import type { LlavaConfig } from '../../src/checkpoint/architecture.ts';
import type { Llava } from '../../src/checkpoint/load.ts';
import { weightTable } from '../../src/checkpoint/names.ts';
import { none } from '../../src/compress/none.ts';
import { vtcCls } from '../../src/compress/vtc-cls.ts';
import { visionMacs } from '../../src/cost.ts';
import { patchCount } from '../../src/vision/config.ts';
import { runVlm } from '../../src/vlm.ts';
import type { BenchCase } from '../harness.ts';
import { llamaShape, textTokens, visionShapes } from '../shapes.ts';
import { inputRecipe, inputTensor, randomWeights } from '../weights.ts';
import type { Context } from './context.ts';
import { cacheBytesOf, prefillFlops } from './decoder.ts';

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
      name: `picture to ${newTokens} tokens, ${method.name}: U = ${budget}`,
      group,
      runner: backend,
      backend,
      work: {
        flops:
          2 * (visionMacs(vision, vision.num_hidden_layers - 1) + budget * (D * E + E * E)) +
          prefillFlops(text, budget + textTokens),
      },
      cacheBytes: cacheBytesOf(text, budget + textTokens + newTokens - 1),
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
