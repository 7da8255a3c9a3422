/** Methods by themselves, without a model, each checked as it runs; and a whole run in one call. */
import type * as tf from '@tensorflow/tfjs-core';
import type { Llava } from '../../src/checkpoint/load.ts';
import { checked } from '../../src/compress/checked.ts';
import { compress, type CompressedPictures } from '../../src/compress/compress.ts';
import type { Method, MethodOptions, Resources, Seen, Source } from '../../src/compress/method.ts';
import { prepareMethod } from '../../src/compress/prepare.ts';
import type { LayerHook } from '../../src/decoder/state.ts';
import { prepareAnswer, type ChosenMethod } from '../../src/plan.ts';
import { wholeFeatures } from '../../src/vision/features.ts';
import { answer, type Answer, type AnswerOptions } from '../../src/story.ts';
import type { ImagePrompt } from '../../src/text/prompt.ts';

/** Of a picture of P patches that a tower of three layers saw whole. */
export const sourceOf = (known: Partial<Source> & Pick<Source, 'patches'>): Source => ({
  layers: 3,
  selectedLayer: 2,
  featureLayers: [3],
  prefixTokens: 1,
  grid: Number.isInteger(Math.sqrt(known.patches)) ? Math.sqrt(known.patches) : undefined,
  visualTokens: known.patches,
  decoderLayers: 4,
  ...known,
});

/** What a tower would have shown. */
export const seenOf = (F: tf.Tensor3D, insides: Partial<Seen> = {}): Seen => ({
  F,
  B: F.shape[0],
  clsAttention: new Map(),
  attention: new Map(),
  keys: new Map(),
  hidden: new Map(),
  project: (features) => features.clone(),
  ...insides,
});

const checkedAny = <Options extends MethodOptions>(method: Method<Options>): Method =>
  checked(method as unknown as Method);

/** What a method makes of pictures before the decoder; it sees only what it needs. The caller disposes the tokens. */
export async function runMethod<Options extends MethodOptions>(
  method: Method<Options>,
  seen: Seen & { cls?: tf.Tensor3D },
  U: number,
  {
    options = method.defaults,
    source = sourceOf({ patches: seen.F.shape[1] }),
    resources = {},
  }: { options?: Options; source?: Source; resources?: Resources } = {},
): Promise<CompressedPictures> {
  const { needs = {}, choose } = prepareMethod(checkedAny(method), source, U, options, resources);
  const only = <T>(layers: number[] = [], all: Map<number, T>) =>
    new Map(layers.map((l) => [l, all.get(l)!]));
  const choice = await choose!({
    ...seen,
    clsAttention: only(needs.clsAttention, seen.clsAttention),
    attention: only(needs.attention, seen.attention),
    keys: only(needs.keys, seen.keys),
  });
  return compress(choice, { features: wholeFeatures(seen) }, { keepsCls: false, picks: !method.makesTokens });
}

/** What a method does between a decoder's layers. */
export const hookOf = <Options extends MethodOptions>(
  method: Method<Options>,
  source: Source,
  U: number,
  options: Options = method.defaults,
): LayerHook => prepareMethod(checkedAny(method), source, U, options).between!();

export interface RunInput {
  pixels: tf.Tensor4D;
  prompts: ImagePrompt[];
  /** Their numbers, where it matters. */
  pictures?: number[];
}
export type RunOptions = ChosenMethod & AnswerOptions;

/** From pixels to answers, the plan included. */
export async function runVlm(
  model: Llava,
  { pixels, prompts, pictures }: RunInput,
  options: RunOptions,
): Promise<Answer> {
  return await answer(
    model,
    pixels,
    prompts,
    prepareAnswer(model.config, options, prompts, options, pictures),
    options,
  );
}
