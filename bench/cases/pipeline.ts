/** The whole walk on a small LLaVA of real widths, with and without compression. */
import * as tf from '@tensorflow/tfjs-core';
import type { LlavaConfig } from '../../src/checkpoint/architecture.ts';
import type { Llava } from '../../src/checkpoint/load.ts';
import { weightTable } from '../../src/checkpoint/names.ts';
import type { Method } from '../../src/compress/method.ts';
import { none } from '../../src/compress/none.ts';
import { llavaSystems, methods } from '../../src/compress/registry.ts';
import { withWeights, type AnySystem } from '../../src/compress/trained/system.ts';
import { vistog } from '../../src/compress/trained/vistog.ts';
import { vtcCls } from '../../src/compress/vtc-cls.ts';
import { cacheBytes, prefillMacs, visionMacs } from '../../src/cost.ts';
import { patchCount } from '../../src/vision/config.ts';
import { clipContrastTable, type Clip } from '../../src/vision/contrastive.ts';
import { parseClipTextConfig } from '../../src/vision/text-config.ts';
import { clipTextTable } from '../../src/vision/text.ts';
import { prepareAnswer } from '../../src/plan.ts';
import { answer } from '../../src/story.ts';
import type { BenchCase } from '../harness.ts';
import { llamaShape, textTokens, visionShapes } from '../shapes.ts';
import { inputRecipe, inputTensor, randomWeights } from '../weights.ts';
import type { Context } from './context.ts';

const newTokens = 8;

/** ViT-B/16, a two-layer projector and 2 layers of the 1.1 B decoder; 196 patches, of which a quarter may stay. */
export function pipelineCases(context: Context): BenchCase[] {
  const group = 'pipeline (ViT-B/16 + LLaMA 1.1 B shape, 2 layers)';
  const backends = context.backends.filter((backend) => context.full || backend === 'tensorflow');
  const methods = [none, vtcCls];
  return backends.flatMap((backend) => caseOfEach(group, backend, methods, 2));
}

/**
 * Every method on the same, with 4 layers, for the methods that cut between them, and every system that was trained, with random
 * weights as all else. Three minutes: only where asked for.
 */
export function methodCases(context: Context): BenchCase[] {
  const group = 'methods (ViT-B/16 + LLaMA 1.1 B shape, 4 layers)';
  const [backend] = context.backends;
  return context.methods ? caseOfEach(group, backend, [...methods, ...llavaSystems], 4) : [];
}

/** One case a method, a quarter of the patches kept; the model is loaded for the first and serves them all. */
function caseOfEach(
  group: string,
  backend: string,
  all: readonly (Method | AnySystem)[],
  layers: number,
): BenchCase[] {
  const vision = visionShapes['ViT-B/16'];
  const text = llamaShape(layers);
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
  const words = parseClipTextConfig({}, 'bench'); // the text tower of ViT-B/16
  const question = [words.bos_token_id, ...half.slice(0, 10), words.eos_token_id];
  const input = inputRecipe('pixels', [1, vision.image_size, vision.image_size, 3]);
  const readers = all.some(({ resources = [] }) => resources.includes('questions'));
  let held: { model: Llava; pixels: tf.Tensor4D; weights: unknown } | undefined;
  return all.map((one) => {
    const budget = one === none ? P : Math.round(P / (one === vistog ? 8 : 4)); // VisToG has 25 groups or 13
    let trained: { weights: object; method: Method } | undefined;
    const prompts = [{ before: half, after: half, question }];
    const planned = () => {
      const method = 'table' in one ? trained!.method : one;
      const chosen = { method, methodOptions: method.defaults, budget };
      return prepareAnswer(config, chosen, prompts, { maxNewTokens: newTokens });
    };
    const projected = one.stages[0] === 'between' ? P : budget;
    const item: BenchCase = {
      name: `picture to ${newTokens} tokens, ${one.name}: U = ${budget}`,
      group,
      runner: backend,
      backend,
      work: { flops: 0 }, // known after the first run, as is the cache
      prepare: async () => {
        if ('table' in one) {
          const weights = await randomWeights(one.table(config), group);
          trained = { weights, method: withWeights(one, { weights, model: config }) };
        }
        planned();
        if (held) return;
        const weights = await randomWeights(weightTable(config), group);
        const llava = {
          config,
          vision: { config: vision, weights: weights.vision! },
          projector: { config: config.projector, weights: weights.projector! },
          decoder: { config: text, weights: weights.decoder! },
        } as Llava;
        if (!readers) return void (held = { model: llava, pixels: inputTensor(input), weights });
        const texts = await randomWeights(clipTextTable(words, 'text.'), group);
        const heads = await randomWeights(clipContrastTable(D, words.hidden_size, 512), group);
        const clip = {
          vision: llava.vision,
          text: { config: words, weights: texts },
          weights: heads,
        } as Clip;
        held = { model: { ...llava, clip }, pixels: inputTensor(input), weights: [weights, texts, heads] };
      },
      run: async () => {
        const { model, pixels } = held!;
        const plan = planned();
        const { tokens, prefillLengths } = await answer(model, pixels, prompts, plan, {
          maxNewTokens: newTokens,
        });
        const grid = typeof plan.inTower === 'object' ? plan.inTower.grid : undefined;
        const seeing = visionMacs(vision, vision.num_hidden_layers - 1, grid) + projected * (D * E + E * E);
        const head = text.hidden_size * text.vocab_size;
        item.work = { flops: 2 * (seeing + prefillMacs(text, prefillLengths) + head) };
        item.cacheBytes = cacheBytes(
          text,
          prefillLengths.map((length) => length + newTokens - 1),
        );
        return { digest: tokens[0] };
      },
      dispose: () => {
        tf.dispose([held?.pixels, held?.weights, trained?.weights] as tf.TensorContainer);
        held = trained = undefined;
      },
    };
    return item;
  });
}
