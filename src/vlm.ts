/**
 * The whole of it on one page: a picture and a question go in, an answer comes out, and on the way the picture's P
 * visual tokens become U. Everything below this file is a room that one enters only to learn more.
 */
import * as tf from '@tensorflow/tfjs-core';
import { visualTokenCount, type LlavaConfig } from './checkpoint/architecture.ts';
import type { Llava } from './checkpoint/load.ts';
import type { DecoderSource, Method, MethodOptions } from './compress/method.ts';
import { none } from './compress/none.ts';
import { scoreByCls } from './compress/score.ts';
import { cacheLengths } from './decoder/cache.ts';
import { checkContext, decode, prefill, type GenerateOptions } from './decoder/generate.ts';
import { spliceImage, type OriginalPlaces } from './decoder/splice.ts';
import { UserError } from './errors.ts';
import { project } from './projector.ts';
import { shape } from './tensor/axes.ts';
import type { Trace, TraceName } from './tensor/trace.ts';
import { checkIds, type ImagePrompt } from './text/prompt.ts';
import { runClipVision, visionTensors, type VisionOutput } from './vision/clip.ts';

export interface VlmInput {
  pixels: tf.Tensor4D; // [B, S, S, 3], preprocessed
  prompts: ImagePrompt[]; // B of them, token ids around the picture
}

export interface VlmOptions extends Omit<GenerateOptions, 'hook'> {
  method: Method;
  methodOptions: MethodOptions;
  /** U, how many patches to keep, 1 ≤ U ≤ P; a [CLS] that the checkpoint keeps is not counted. */
  budget: number;
  /** RoPE positions after pruning: as if the dropped tokens had never been, or with gaps in their place. */
  positions: 'contiguous' | 'original';
  /** Called after each step of the walk. */
  onStep?: (step: WalkStep) => void;
  trace?: Trace;
}

/** One step of the walk, for the reader: what it made, in the axis legend, and the time since the step before. */
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

/** @throws UserError for options that the model or the prompt cannot serve */
export async function runVlm(model: Llava, input: VlmInput, options: VlmOptions): Promise<VlmAnswer> {
  const { vision, projector, decoder, config } = model;
  const { method, methodOptions, budget, trace } = options;
  const onVision = method.where === 'vision' ? method : none;
  const onDecoder = method.where === 'decoder' ? method : undefined; // cuts between layers, after a full picture
  checkVlm(config, input.prompts, options);
  const source = describeSource(config);
  const ask = { hidden: config.vision_feature_layer, ...onVision.asks(source, methodOptions) };
  const hook = onDecoder?.hook(source, budget, methodOptions);
  shape({ pixels: input.pixels }, 'B S S 3', { B: input.prompts.length });
  const { own, made, tell, dispose } = startWalk(options);
  try {
    tell('pixels', 'B S S 3', input.pixels.shape);

    // The ViT, layer by layer: A_l = softmax(Q·Kᵀ/√C). Of the K ensembled layers the [CLS] row is exposed,
    // A_l[:, :, 0, 1:].                                              (vision/block.ts, tensor/attention.ts)
    const tellLayer = (x: tf.Tensor, i: number) => tell(`hidden[${i}]`, 'B N D', x.shape);
    const seen = runClipVision(vision, input.pixels, ask, trace, tellLayer);
    own(...visionTensors(seen));
    seen.clsAttention.forEach((row, l) => made(`[CLS] attention ${l}`, 'B H P', row));
    seen.attention.forEach((x, l) => made(`attention ${l}`, 'B H N N', x));

    // F = hidden[-2][:, 1:], or what else vision_feature_layer selects                    (selectFeatures below)
    const { cls, patches } = selectFeatures(seen, config.vision_feature_layer);
    own(cls, patches);
    made('features F', 'B P D', patches);

    // a_l = mean over heads of A_l[:, :, 0, 1:]                                               (compress/score.ts)
    // s = Σ a_l over the K layers                                                          (compress/ensemble.ts)
    // kept = sort(top-U of s)                                                                 (compress/top-k.ts)
    // F' = F[kept]                                                                           (compress/gather.ts)
    const features = { patches, clsAttention: seen.clsAttention, attention: seen.attention };
    const compressed = await onVision.run(features, budget, methodOptions);
    own(compressed.tokens, compressed.kept, compressed.scores);
    if (compressed.scores) made('scores s', 'B P', compressed.scores, 'compress.scores');
    if (compressed.kept) made('kept', 'B U', compressed.kept, 'compress.kept');
    made("features F'", 'B U D', compressed.tokens);
    const kept = compressed.kept && ((await compressed.kept.array()) as number[][]);

    // Z = gelu(F'·W₁ + b₁)·W₂ + b₂; where the checkpoint keeps [CLS] it goes along, first         (projector.ts)
    const withCls = source.keepsCls ? [cls, compressed.tokens] : [compressed.tokens];
    const visual = tf.tidy(() => project(projector, tf.concat(withCls, 1)));
    own(visual);
    made('visual tokens Z', source.keepsCls ? 'B 1+U E' : 'B U E', visual, 'projector.output');

    // X = [text before | Z | text after], at positions 0 .. T − 1 or where the tokens stood  (decoder/splice.ts)
    const places = options.positions === 'original' ? originalPlaces(source, method, kept) : undefined;
    const prompt = spliceImage(decoder, input.prompts, visual, places);
    own(prompt.hidden, prompt.positions);
    made('prompt X', 'B T E', prompt.hidden);

    // The decoder reads X once, filling its caches, then writes a token a step.            (decoder/generate.ts)
    const session = await prefill(decoder, prompt, { ...options, hook });
    try {
      const { logits } = session;
      tell('prefill: logits', logits.shape[1] === 1 ? 'B 1 V' : 'B T V', logits.shape);
      const prefillLengths = cacheLengths(session.cache);
      const answer = await decode(decoder, session, { ...options, hook });
      tell('decode: tokens', 'B R', [answer.length, Math.max(...answer.map((row) => row.length))]);
      return {
        tokens: answer,
        kept,
        scores: compressed.scores && ((await compressed.scores.array()) as number[][]),
        layerScores: await headMeans(seen),
        promptTokens: prompt.hidden.shape[1],
        prefillLengths,
      };
    } finally {
      session.dispose();
    }
  } finally {
    dispose();
  }
}

/** Keeps the walk's books: which tensors to dispose at its end, and what each step made and took. */
function startWalk({ onStep, trace }: VlmOptions) {
  const owned: tf.Tensor[] = [];
  let started = performance.now();
  const tell = (name: string, axes: string, shape: number[]) => {
    onStep?.({ name, axes, shape, milliseconds: performance.now() - started });
    started = performance.now();
  };
  const own = (...tensors: (tf.Tensor | undefined)[]) => {
    owned.push(...tensors.filter((tensor) => tensor !== undefined));
  };
  const made = (name: string, axes: string, tensor: tf.Tensor, traceName?: TraceName) => {
    if (traceName) trace?.record(traceName, tensor);
    tell(name, axes, tensor.shape);
  };
  return { own, made, tell, dispose: () => tf.dispose(owned) };
}

/**
 * What can be refused before the weights are loaded: options that the method cannot serve in this model, prompts that
 * one batch cannot hold, or that exceed the decoder's context however much is pruned.
 * @throws UserError
 */
export function checkVlm(
  config: LlavaConfig,
  prompts: ImagePrompt[],
  {
    method,
    methodOptions,
    budget,
    maxNewTokens,
  }: Pick<VlmOptions, 'method' | 'methodOptions' | 'budget' | 'maxNewTokens'>,
): void {
  const source = describeSource(config);
  if (method.where === 'vision') method.asks(source, methodOptions);
  else method.hook(source, budget, methodOptions);
  if (prompts.length === 0) throw new UserError('a batch needs at least one prompt');
  const lengths = prompts.map(({ before, after }) => before.length + after.length);
  if (new Set(lengths).size > 1) {
    throw new UserError(
      `the prompts of a batch differ in length without their picture: ${lengths.join(', ')}`,
    );
  }
  for (const { before, after } of prompts)
    checkIds([...before, ...after], config.text.vocab_size, 'the prompt');
  checkContext(config.text, lengths[0] + budget, maxNewTokens); // at least so many; prefill checks the exact number
}

/** What a method may know of the model before it runs. */
function describeSource(config: LlavaConfig): DecoderSource & { keepsCls: boolean } {
  return {
    layers: config.vision.num_hidden_layers,
    // Loading turned −2 into an index from 0; hidden[i] is the output of layer i − 1.
    selectedLayer: Math.max(...config.vision_feature_layer) - 1,
    keepsCls: config.vision_feature_select_strategy === 'full',
    visualTokens: visualTokenCount(config),
    decoderLayers: config.text.num_hidden_layers,
  };
}

/** The selected hidden states side by side, [CLS] apart from the patches. */
function selectFeatures(
  { hidden }: VisionOutput,
  layers: number[],
): { cls: tf.Tensor3D; patches: tf.Tensor3D } {
  return tf.tidy(() => {
    const selected = layers.map((layer) => hidden.get(layer)!);
    const all = tf.concat(selected, 2); // [B, N, D]
    const [B, N, D] = all.shape;
    return { cls: tf.slice(all, [0, 0, 0], [B, 1, D]), patches: tf.slice(all, [0, 1, 0], [B, N - 1, D]) };
  });
}

/** The places of the kept patches in the uncut picture, and of [CLS] before them where the checkpoint keeps it. */
function originalPlaces(
  { keepsCls, visualTokens }: DecoderSource & { keepsCls: boolean },
  method: Method,
  kept: number[][] | undefined,
): OriginalPlaces {
  if (!kept) {
    throw new UserError(
      `--positions original: method ${method.name} makes new tokens, which have no position`,
    );
  }
  const places = keepsCls ? kept.map((row) => [0, ...row.map((patch) => patch + 1)]) : kept;
  return { places, length: visualTokens };
}

async function headMeans({ clsAttention }: VisionOutput): Promise<Map<number, number[][]>> {
  const means = new Map<number, number[][]>();
  for (const [layer, row] of clsAttention) {
    const mean = scoreByCls(row); // [B, P]
    means.set(layer, (await mean.array()) as number[][]);
    mean.dispose();
  }
  return means;
}
