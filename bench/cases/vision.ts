/** The vision tower up to hidden[-2], alone and with its attention exposed, and the scoring that follows it. */
import * as tf from '@tensorflow/tfjs-core';
import type { Seen, Source } from '../../src/compress/method.ts';
import { vtcCls } from '../../src/compress/vtc-cls.ts';
import { visionMacs } from '../../src/cost.ts';
import { free } from '../../src/tensor/scope.ts';
import { applyMatrix } from '../../src/tensor/token-matrix.ts';
import { runClipVision, type ClipVision, type VisionNeeds } from '../../src/vision/clip.ts';
import { patchCount, type ClipVisionConfig } from '../../src/vision/config.ts';
import { clipVisionTable, type ClipVisionWeights } from '../../src/vision/weights.ts';
import type { BenchCase } from '../harness.ts';
import { visionShapes } from '../shapes.ts';
import { digestOf, inputRecipe, inputTensor, randomWeights, recipesOf } from '../weights.ts';
import { peerCases, type Context, type Ways } from './context.ts';

/** How many layers the ensemble sums: VTC-CLS's default here. */
const ensembled = 3;

export const scoring = { name: 'score, ensemble, top-64, gather', group: 'vision: scoring' };
export const exposures = {
  none: '',
  cls: ` + [CLS] rows of ${ensembled} layers`,
  full: ` + full attention of ${ensembled} layers`,
};
type Exposure = keyof typeof exposures;
const exposureNames = Object.keys(exposures) as Exposure[];

/** In three minutes: wasm without the large tower, full attention and SDPA on one shape each. */
export function visionCases(context: Context): BenchCase[] {
  const { full } = context;
  return Object.entries(visionShapes).flatMap(([shape, config]) => {
    const large = shape === 'ViT-L/14-336';
    const backends = context.backends.filter((backend) => full || !large || backend === 'tensorflow');
    const exposed =
      full || shape === 'ViT-B/16'
        ? exposureNames
        : large
          ? exposureNames.slice(0, 2)
          : exposureNames.slice(0, 1);
    const ways = full || shape === 'ViT-B/16' ? 'every' : 'plain';
    return encodeCases({ ...context, backends }, shape, config, { exposed, ways });
  });
}

function encodeCases(
  context: Context,
  shape: string,
  config: ClipVisionConfig,
  { exposed, ways }: { exposed: Exposure[]; ways: Ways },
): BenchCase[] {
  const run = config.num_hidden_layers - 1; // hidden[-2]: the last layer never runs
  const layers = Array.from({ length: ensembled }, (_, i) => run - ensembled + i);
  const asks: Record<Exposure, VisionNeeds> = {
    none: { hidden: [run] },
    cls: { hidden: [run], clsAttention: layers },
    full: { hidden: [run], attention: layers },
  };
  const group = `vision: ${shape}`;
  const work = { flops: 2 * visionMacs(config, run) };
  const tree = clipVisionTable({ ...config, num_hidden_layers: run }, 'vision_model.');
  const input = inputRecipe('pixels', [1, config.image_size, config.image_size, 3]);

  const ours = context.backends.flatMap((backend) => {
    let held: { vision: ClipVision; pixels: tf.Tensor4D } | undefined;
    return exposed
      .filter((exposure) => context.full || backend === 'tensorflow' || exposure !== 'full')
      .map((exposure): BenchCase => ({
        name: `${shape} encode${exposures[exposure]}`,
        ...(exposure !== 'none' && { over: `${shape} encode` }),
        group,
        runner: backend,
        backend,
        work,
        prepare: async () => {
          if (held) return; // the exposures share the weights
          const weights = (await randomWeights(tree, `${shape}`)) as ClipVisionWeights;
          held = { vision: { config, weights }, pixels: inputTensor(input) };
        },
        run: async () => {
          const seen = runClipVision(held!.vision, held!.pixels, asks[exposure]);
          const digest = await digestOf(seen.hidden.get(run)!.clone());
          free(seen);
          return { digest };
        },
        dispose: () => {
          tf.dispose([held?.pixels, held?.vision.weights] as unknown as tf.TensorContainer);
          held = undefined;
        },
      }));
  });
  const request = { kind: 'vision' as const, weights: recipesOf(tree), input, config, layers: run };
  const description = { name: `${shape} encode`, group, work };
  return [...ours, ...peerCases(context, description, { [shape]: request }, { ways })];
}

/** What the method itself costs once the tower has run: ViT-L/14-336's shapes, 64 of 576 patches. */
export function scoringCases({ backends }: Context): BenchCase[] {
  const config = visionShapes['ViT-L/14-336'];
  const P = patchCount(config);
  const D = config.hidden_size;
  const H = config.num_attention_heads;
  const L = config.num_hidden_layers;
  const source: Source = {
    layers: L,
    selectedLayer: L - 2,
    featureLayers: [L - 1],
    prefixTokens: 1,
    patches: P,
    grid: Math.sqrt(P),
    visualTokens: P,
    decoderLayers: 32,
  };
  const rows = Array.from({ length: ensembled }, (_, k) => inputRecipe(`row ${k}`, [1, H, P]));
  return backends.map((backend): BenchCase => {
    let patches: tf.Tensor3D;
    let clsAttention: Map<number, tf.Tensor3D>;
    const plan = vtcCls.prepare(source, 64, vtcCls.defaults, {});
    return {
      ...scoring,
      runner: backend,
      backend,
      work: { bytes: 4 * (ensembled * H * P + 2 * 64 * D) },
      prepare: () => {
        patches = inputTensor(inputRecipe('patches', [1, P, D]));
        clsAttention = new Map(
          rows.map((row, k) => [k, tf.tidy(() => tf.softmax(inputTensor<tf.Tensor3D>(row)))]),
        );
        return Promise.resolve();
      },
      run: async () => {
        const { W } = await plan.choose!({ F: patches, clsAttention } as Seen);
        const tokens = applyMatrix(W, patches);
        return { digest: await digestOf(tokens) };
      },
      dispose: () => tf.dispose([patches, ...clsAttention.values()]),
    };
  });
}
