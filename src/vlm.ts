/**
 * The whole of it on one page: a picture and a question go in, an answer comes out, and on the way the picture's P
 * visual tokens become U. Everything below this file is a room that one enters only to learn more.
 */
import * as tf from '@tensorflow/tfjs-core';
import { visualTokenCount, type LlavaConfig } from './checkpoint/architecture.ts';
import type { Llava } from './checkpoint/load.ts';
import type { Fates, TowerAsk, VisionFeatures } from './compress/method.ts';
import { none } from './compress/none.ts';
import { scoreByCls } from './compress/score.ts';
import { cacheLengths } from './decoder/cache.ts';
import { decode, prefill, type GenerateOptions } from './decoder/generate.ts';
import { spliceImage, type OriginalPlaces } from './decoder/splice.ts';
import { UserError } from './errors.ts';
import {
  asksOf,
  checkVlm,
  hookOf,
  keepsCls,
  mergeOf,
  needsClip,
  type ChosenMethod,
  type Positions,
} from './fit.ts';
import { project } from './projector.ts';
import type { Trace, TraceName } from './tensor/trace.ts';
import { checkIds, type ImagePrompt } from './text/prompt.ts';
import { readHidden, runClipVision, visionTensors } from './vision/clip.ts';
import { patchCount } from './vision/config.ts';
import { embedPatches, embedTexts, type Clip } from './vision/contrastive.ts';
import { runMergingVision, type MergeHook } from './vision/merging.ts';

export interface VlmInput {
  pixels: tf.Tensor4D; // [B, S, S, 3], preprocessed
  prompts: ImagePrompt[]; // B of them, token ids around the picture
}

/** Who watches the walk. */
export interface WalkOptions {
  /** Called after each step. */
  onStep?: (step: WalkStep) => void;
  trace?: Trace;
}

export interface VlmOptions extends WalkOptions, ChosenMethod, Omit<GenerateOptions, 'hook' | 'trace'> {
  positions: Positions;
}

/** One step of the walk, for the reader: what it made, in the axis legend, and the time since the step before. */
export interface WalkStep {
  name: string;
  axes: string;
  shape: number[];
  milliseconds: number;
}

export interface VlmAnswer extends Choice {
  tokens: number[][]; // per item, without the stop token
  /** The head mean of each exposed layer's [CLS] row, by layer: P values an item. */
  layerScores: Map<number, number[][]>;
  promptTokens: number;
  /** Tokens in each decoder layer's cache after the prompt. */
  prefillLengths: number[];
}

/** @throws UserError for pixels or options that the model or the prompt cannot serve; no tensor is left */
export async function runVlm(model: Llava, input: VlmInput, options: VlmOptions): Promise<VlmAnswer> {
  checkVlm(model.config, input.prompts, options);
  const pictures = checkPixels(model.config, input.pixels);
  if (pictures !== input.prompts.length) {
    throw new UserError(`pixels are of ${pictures} pictures, but there are ${input.prompts.length} prompts`);
  }
  const asks = asksOf(model.config, options);
  const seen = seePictures(model, input.pixels, asks, options, mergeOf(model.config, options));
  try {
    const picture = await compressPictures(seen, options, input.prompts);
    try {
      const answer = await answerPrompts(model, picture, input.prompts, options);
      return { ...answer, ...picture.choice, layerScores: await headMeans(seen.features) };
    } finally {
      picture.tokens.dispose();
    }
  } finally {
    seen.dispose();
  }
}

/** What the vision tower made of B pictures. Dispose it when done. */
export interface SeenPictures {
  /** All that a method may look at, but for the question. */
  features: Omit<VisionFeatures, 'relevance'>;
  /**
   * How alike the patches are to a question about each picture; see {@link VisionFeatures.relevance}.
   * @throws UserError without a CLIP to read it
   */
  compareTo(this: void, questions: (number[] | undefined)[]): tf.Tensor2D;
  /** F of [CLS] itself, [B, 1, D], for a checkpoint that keeps it. */
  cls?: tf.Tensor3D;
  dispose(): void;
}

/**
 * Runs the vision tower once.
 * @param pixels [B, S, S, 3], preprocessed
 * @param asks what methods will want of the tower's inner tensors, by layer; see {@link VisionMethod.asks}
 * @param merge what a method does inside the tower, where it does; see {@link VisionMethod.merge}
 * @throws UserError for pixels that are disposed, of another shape, or no numbers
 */
export function seePictures(
  { config, vision, projector, clip }: Llava,
  pixels: tf.Tensor4D,
  asks: TowerAsk,
  options: WalkOptions = {},
  merge?: MergeHook,
): SeenPictures {
  const { own, made, tell, dispose } = startWalk(options);
  const B = checkPixels(config, pixels);
  const layers = config.vision_feature_layer;
  try {
    tell('pixels', 'B S S 3', pixels.shape);

    // The ViT, layer by layer: A_l = softmax(Q·Kᵀ/√C). Of the K ensembled layers the [CLS] row is exposed,
    // A_l[:, :, 0, 1:]. The last layer stays half done.          (vision/clip.ts, block.ts, tensor/attention.ts)
    const tellLayer = (x: tf.Tensor, i: number) => tell(`hidden[${i}]`, 'B N D', x.shape);
    const tellMerged = (x: tf.Tensor, i: number) => {
      options.trace?.record('vision.hidden.LL', x, i);
      tellLayer(x, i);
    };
    const ask = { hidden: layers, ...asks, open: true };
    const seen = merge // a method inside the tower leaves fewer tokens from layer to layer         (vision/merging.ts)
      ? runMergingVision(vision, pixels, Math.max(...layers), merge, tellMerged)
      : runClipVision(vision, pixels, ask, options.trace, tellLayer);
    own(...visionTensors(seen));
    if (seen.open) made(`keys ${seen.openLayer!}`, 'B H N C', seen.open.keys);
    seen.clsAttention.forEach((row, l) => made(`[CLS] attention ${l}`, 'B H P', row));
    seen.attention.forEach((x, l) => made(`attention ${l}`, 'B H N N', x));

    // F = hidden[-2][:, 1:], or what else vision_feature_layer selects; several layers lie side by side
    const readTokens = (tokens: tf.Tensor2D): tf.Tensor3D =>
      tf.tidy(() =>
        tf.concat(
          layers.map((layer) => readHidden(vision, seen, layer, tokens)),
          2,
        ),
      );
    const readSame = (places: number[]) =>
      tf.tidy(() =>
        readTokens(
          tf.tensor2d(
            Array.from({ length: B }, () => places),
            undefined,
            'int32',
          ),
        ),
      );
    const P = merge ? seen.hidden.get(layers[0])!.shape[1] - 1 : patchCount(config.vision);
    const cls = keepsCls(config) ? readSame([0]) : undefined;
    own(cls);
    const features: SeenPictures['features'] = {
      batch: B,
      patches: P,
      all: () => readSame(Array.from({ length: P }, (_, patch) => 1 + patch)),
      at: (kept) => tf.tidy(() => readTokens(tf.add(kept, tf.scalar(1, 'int32')))), // patch p is token 1 + p, after [CLS]
      cls: () => readSame([0]),
      clsAttention: seen.clsAttention,
      attention: seen.attention,
      keys: seen.keys,
      project: (features) => project(projector, features),
    };
    const compareTo = (questions: (number[] | undefined)[]) => compareWords(clip, features.all(), questions);
    return { features, compareTo, cls, dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** @returns B. Numbers that are none would be heard of in the decoder only, or never. */
function checkPixels({ vision: { image_size: S } }: LlavaConfig, pixels: tf.Tensor4D): number {
  if (pixels.isDisposed) throw new UserError('pixels are disposed');
  const [B, ...sides] = pixels.shape;
  if (pixels.dtype !== 'float32' || !(B >= 1) || sides.join() !== [S, S, 3].join()) {
    throw new UserError(
      `pixels are ${pixels.dtype} [${pixels.shape.join(', ')}], should be float32 [B, ${S}, ${S}, 3]`,
    );
  }
  const bad = pixels.dataSync().find((value) => !Number.isFinite(value));
  if (bad !== undefined) throw new UserError(`pixels hold ${bad}`);
  return B;
}

/** The cosine of each patch and its picture's question, in CLIP's space: [B, P]. @param F [B, P, D]; is disposed */
function compareWords(
  clip: Clip | undefined,
  F: tf.Tensor3D,
  questions: (number[] | undefined)[],
): tf.Tensor2D {
  try {
    const words = questions.filter((ids) => ids !== undefined);
    if (!clip || words.length < F.shape[0]) throw new UserError(needsClip);
    for (const ids of words) checkIds(ids, clip.text.config.vocab_size, 'the question');
    return tf.tidy(() => {
      const texts = tf.expandDims(embedTexts(clip, words), 1); // [B, 1, W]
      return tf.sum(tf.mul(embedPatches(clip, F), texts), 2);
    });
  } finally {
    F.dispose();
  }
}

/** A picture as the projector takes it. */
export interface CompressedPictures {
  /** F' [B, U, D], or [B, 1+U, D] where the checkpoint keeps [CLS]. The caller disposes it. */
  tokens: tf.Tensor3D;
  choice: Choice;
  /** What became of each picture's patches, where its tokens are new ones. */
  fates?: () => Fates[];
}

/** What a method chose. */
export interface Choice {
  /** Which patches stayed, ascending; absent for methods that make new tokens. */
  kept?: number[][];
  /** What the method ranked them by, P values an item. */
  scores?: number[][];
}

/**
 * The P visual tokens become U. A method that works between the decoder's layers leaves them as they are.
 * @param prompts one for each picture, for a method that reads the question
 */
export async function compressPictures(
  { features: seen, compareTo, cls }: SeenPictures,
  options: WalkOptions & ChosenMethod,
  prompts: readonly ImagePrompt[] = [],
): Promise<CompressedPictures> {
  const { own, made, dispose } = startWalk(options);
  const method = options.method.where === 'vision' ? options.method : none;
  const features = { ...seen, relevance: () => compareTo(prompts.map(({ question }) => question)) };
  try {
    // a_l = mean over heads of A_l[:, :, 0, 1:]                                               (compress/score.ts)
    // s = Σ a_l over the K layers                                                          (compress/ensemble.ts)
    // kept = sort(top-U of s)                                                                 (compress/top-k.ts)
    // F' = F[kept], whose last layer runs for the kept alone                                   (vision/block.ts)
    const { tokens, fates, scores, ...chosen } = await method.run(
      features,
      options.budget,
      options.methodOptions,
    );
    own(tokens, chosen.kept, scores);
    const kept = method === options.method ? chosen.kept : undefined; // none's choice is nobody's
    if (scores) made('scores s', 'B P', scores, 'compress.scores');
    if (kept) made('kept', 'B U', kept, 'compress.kept');
    made("features F'", 'B U D', tokens);
    const choice = {
      kept: (await kept?.array()) as number[][] | undefined,
      scores: (await scores?.array()) as number[][] | undefined,
    };
    return { tokens: cls ? tf.concat([cls, tokens], 1) : tokens.clone(), choice, fates };
  } finally {
    dispose();
  }
}

/** The decoder's part of an answer. */
export type DecoderAnswer = Pick<VlmAnswer, 'tokens' | 'promptTokens' | 'prefillLengths'>;

/**
 * The decoder reads the prompts with their pictures, and answers.
 * @param picture not disposed
 */
export async function answerPrompts(
  { config, projector, decoder }: Llava,
  picture: CompressedPictures,
  prompts: ImagePrompt[],
  options: VlmOptions,
): Promise<DecoderAnswer> {
  const { own, made, tell, dispose } = startWalk(options);
  const hook = hookOf(config, options);
  try {
    // Z = gelu(F'·W₁ + b₁)·W₂ + b₂; where the checkpoint keeps [CLS] it goes along, first         (projector.ts)
    const visual = project(projector, picture.tokens);
    own(visual);
    made('visual tokens Z', keepsCls(config) ? 'B 1+U E' : 'B U E', visual, 'projector.output');

    // X = [text before | Z | text after], at positions 0 .. T − 1 or where the tokens stood  (decoder/splice.ts)
    const original = options.positions === 'original';
    const places = original ? originalPlaces(config, options.method.name, picture.choice.kept) : undefined;
    const prompt = spliceImage(decoder, prompts, visual, places);
    own(prompt.hidden, prompt.positions);
    made('prompt X', 'B T E', prompt.hidden);

    // The decoder reads X once, filling its caches, then writes a token a step.            (decoder/generate.ts)
    const session = await prefill(decoder, prompt, { ...options, hook });
    try {
      const { logits } = session;
      tell('prefill: logits', logits.shape[1] === 1 ? 'B 1 V' : 'B T V', logits.shape);
      const prefillLengths = cacheLengths(session.cache);
      const tokens = await decode(decoder, session, { ...options, hook });
      tell('decode: tokens', 'B R', [tokens.length, Math.max(...tokens.map((row) => row.length))]);
      return { tokens, promptTokens: prompt.hidden.shape[1], prefillLengths };
    } finally {
      session.dispose();
    }
  } finally {
    dispose();
  }
}

/** Keeps the walk's books: which tensors to dispose at its end, and what each step made and took. */
function startWalk({ onStep, trace }: WalkOptions) {
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

/** The places of the kept patches in the uncut picture, and of [CLS] before them where the checkpoint keeps it. */
function originalPlaces(config: LlavaConfig, method: string, kept: number[][] | undefined): OriginalPlaces {
  if (!kept) throw new UserError(`--positions original: ${method} tells no places of its tokens`);
  const places = keepsCls(config) ? kept.map((row) => [0, ...row.map((patch) => patch + 1)]) : kept;
  return { places, length: visualTokenCount(config) };
}

async function headMeans({ clsAttention }: SeenPictures['features']): Promise<Map<number, number[][]>> {
  const means = new Map<number, number[][]>();
  for (const [layer, row] of clsAttention) {
    const mean = scoreByCls(row); // [B, P]
    means.set(layer, (await mean.array()) as number[][]);
    mean.dispose();
  }
  return means;
}
