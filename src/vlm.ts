/**
 * The whole of it on one page: a picture and a question go in, an answer comes out, and on the way the picture's P
 * visual tokens become U. Everything below this file is a room that one enters only to learn more.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Llava } from './checkpoint/load.ts';
import type { FeatureSource, Method, MethodOptions, VisionMethod } from './compress/method.ts';
import { none } from './compress/none.ts';
import { cacheLengths } from './decoder/cache.ts';
import { decode, prefill, type GenerateOptions } from './decoder/generate.ts';
import { spliceImage, type OriginalPlaces } from './decoder/splice.ts';
import { UserError } from './errors.ts';
import { project } from './projector.ts';
import type { Trace } from './tensor/trace.ts';
import type { ImagePrompt } from './text/prompt.ts';
import { runClipVision, type VisionOutput } from './vision/clip.ts';
import { patchCount } from './vision/config.ts';

export interface VlmInput {
  pixels: tf.Tensor4D; // [B, S, S, 3], preprocessed
  prompts: ImagePrompt[]; // B of them, token ids around the picture
}

export interface VlmOptions extends Omit<GenerateOptions, 'hook'> {
  method: Method;
  methodOptions: MethodOptions;
  /** U, 1 ≤ U ≤ P. */
  budget: number;
  /** RoPE positions after pruning: as if the dropped tokens had never been, or with gaps in their place. */
  positions: 'contiguous' | 'original';
  /** Called after each step of the walk. */
  onStep?: (step: WalkStep) => void;
  trace?: Trace;
}

/** One step of the walk, for the reader: what it made, in the axis legend, and how long it took. */
export interface WalkStep {
  name: string;
  axes: string;
  shape: number[];
  milliseconds: number;
}

export interface VlmAnswer {
  tokens: number[][]; // per item, without the stop token
  /** Which patches stayed, ascending; absent for methods that make new tokens. */
  kept?: number[][];
  /** What the method ranked them by, P values an item. */
  scores?: number[][];
  /** The head mean of each exposed layer's [CLS] row, by layer: P values an item. */
  layerScores: Map<number, number[][]>;
  promptTokens: number;
  /** Tokens in each decoder layer's cache after the prompt. */
  prefillLengths: number[];
}

/** How many tokens the uncompressed picture takes in the prompt: P, and [CLS] where the checkpoint keeps it. */
export function visualTokenCount({ config }: Llava): number {
  return patchCount(config.vision) + (config.vision_feature_select_strategy === 'full' ? 1 : 0);
}

/** @throws UserError for options that the model or the prompt cannot serve */
export async function runVlm(model: Llava, input: VlmInput, options: VlmOptions): Promise<VlmAnswer> {
  const { vision, projector, decoder, config } = model;
  const { method, methodOptions, budget, trace } = options;
  const source: FeatureSource = {
    layers: vision.config.num_hidden_layers,
    selectedLayer: Math.max(...config.vision_feature_layer) - 1, // hidden[i] is the output of layer i − 1
  };
  const visionMethod = method.where === 'vision' ? method : (none as VisionMethod);
  const hook =
    method.where === 'decoder'
      ? method.hook(
          { layers: decoder.config.num_hidden_layers, visualTokens: visualTokenCount(model) },
          budget,
          methodOptions,
        )
      : undefined;

  const owned: tf.Tensor[] = [];
  const own = <T extends tf.Tensor>(tensor: T): T => (owned.push(tensor), tensor);
  let started = performance.now();
  const done = (name: string, axes: string, { shape }: { shape: number[] }) => {
    options.onStep?.({ name, axes, shape, milliseconds: performance.now() - started });
    started = performance.now();
  };

  try {
    done('pixels', 'B S S 3', input.pixels);

    // A_l = softmax(Q·Kᵀ/√C), of which only the [CLS] row of the K ensembled layers is exposed: [B, H, P] each.
    const asked = visionMethod.asks(source, methodOptions);
    const seen = runClipVision(
      vision,
      input.pixels,
      { hidden: config.vision_feature_layer, ...asked },
      trace,
    );
    for (const tensors of Object.values(seen) as Map<number, tf.Tensor>[])
      for (const x of tensors.values()) own(x);
    for (const [index, x] of seen.hidden) done(`hidden[${index}]`, 'B N D', x);
    for (const [layer, row] of seen.clsAttention) done(`[CLS] attention ${layer}`, 'B H P', row);

    // F = hidden[vision_feature_layer][:, 1:]
    const { cls, patches } = tf.tidy(() => selectFeatures(seen, config.vision_feature_layer));
    own(cls);
    own(patches);
    done('features F', 'B P D', patches);

    // a_l = mean over heads;  s = Σ_l a_l;  kept = sort(top-U of s);  F' = F[kept]        (compress/vtc-cls.ts)
    const features = { patches, clsAttention: seen.clsAttention, attention: seen.attention };
    const { tokens, kept, scores } = await visionMethod.run(features, budget, methodOptions);
    for (const tensor of [tokens, kept, scores]) if (tensor) own(tensor);
    if (scores) trace?.record('compress.scores', scores);
    if (kept) trace?.record('compress.kept', kept);
    if (scores) done('scores s', 'B P', scores);
    if (kept) done('kept', 'B U', kept);
    done("features F'", 'B U D', tokens);

    // V = W₂·gelu(W₁·F')
    const keepsCls = config.vision_feature_select_strategy === 'full';
    const visual = own(tf.tidy(() => project(projector, keepsCls ? tf.concat([cls, tokens], 1) : tokens))); // [B, U, E]
    trace?.record('projector.output', visual);
    done('visual tokens V', 'B U E', visual);

    // [text before | V | text after], at positions 0 .. T − 1 or where the tokens stood
    const keptRows = kept && ((await kept.array()) as number[][]);
    const places = options.positions === 'original' ? originalPlaces(model, method, keptRows) : undefined;
    const prompt = spliceImage(decoder, input.prompts, visual, places);
    own(prompt.hidden);
    own(prompt.positions);
    done('prompt', 'B T E', prompt.hidden);

    const session = await prefill(decoder, prompt, { ...options, hook });
    try {
      done('prefill: logits', session.logits.shape[1] === 1 ? 'B 1 V' : 'B T V', session.logits);
      const prefillLengths = cacheLengths(session.cache);
      const answer = await decode(decoder, session, { ...options, hook });
      done('decode: tokens', 'B R', { shape: [answer.length, Math.max(...answer.map((row) => row.length))] });
      recordTokens(answer, trace);
      return {
        tokens: answer,
        kept: keptRows,
        scores: scores && ((await scores.array()) as number[][]),
        layerScores: await headMeans(seen),
        promptTokens: prompt.hidden.shape[1],
        prefillLengths,
      };
    } finally {
      session.dispose();
    }
  } finally {
    tf.dispose(owned);
  }
}

/** The selected hidden states side by side, [CLS] apart from the patches. */
function selectFeatures(
  { hidden }: VisionOutput,
  layers: number[],
): { cls: tf.Tensor3D; patches: tf.Tensor3D } {
  const all = tf.concat(
    layers.map((layer) => hidden.get(layer)!),
    2,
  ); // [B, N, D]
  const [B, N, D] = all.shape;
  return {
    cls: tf.slice(all, [0, 0, 0], [B, 1, D]),
    patches: tf.slice(all, [0, 1, 0], [B, N - 1, D]),
  };
}

/** The places of the kept patches, and of [CLS] before them where the checkpoint keeps it. */
function originalPlaces(model: Llava, method: Method, kept: number[][] | undefined): OriginalPlaces {
  if (!kept) {
    throw new UserError(
      `--positions original: method ${method.name} makes new tokens, which have no position`,
    );
  }
  const keepsCls = model.config.vision_feature_select_strategy === 'full';
  const places = keepsCls ? kept.map((row) => [0, ...row.map((patch) => patch + 1)]) : kept;
  return { places, length: visualTokenCount(model) };
}

async function headMeans({ clsAttention }: VisionOutput): Promise<Map<number, number[][]>> {
  const means = new Map<number, number[][]>();
  for (const [layer, row] of clsAttention) {
    const mean = tf.tidy(() => tf.mean(row, 1)); // [B, P]
    means.set(layer, (await mean.array()) as number[][]);
    mean.dispose();
  }
  return means;
}

function recordTokens(tokens: number[][], trace?: Trace): void {
  if (!trace?.wants('generate.tokens')) return;
  const R = tokens[0].length;
  if (tokens.some((row) => row.length !== R)) {
    throw new Error('a traced run has no stop tokens, so every item has equally many');
  }
  tf.tidy(() => trace.record('generate.tokens', tf.tensor2d(tokens, [tokens.length, R], 'int32')));
}
