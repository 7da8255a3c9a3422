/**
 * The whole of it on one page: B pictures and B questions go in, B answers come out, and on the way each picture's P
 * visual tokens become U. Every file named on the right is a room that one enters only to learn more.
 *
 * Where they become fewer the method's plan says: in the tower (ToMe; downsample, by a smaller picture), before the decoder
 * (VTC-CLS, PruMerge) or between its layers (FastV). What is chosen among tokens is a matrix W, and the new ones are W
 * times the old: rows of a single 1 prune, rows of several weights merge. At the other places all tokens pass.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { Llava } from './checkpoint/load.ts';
import { compress, type CompressedPictures } from './compress/compress.ts';
import { joinPictures, shownOf } from './compress/shown.ts';
import { endRows } from './compress/views.ts';
import { cacheLengths } from './decoder/cache.ts';
import { prefill, writeOn, type GenerateOptions } from './decoder/generate.ts';
import { splicePictures } from './decoder/splice-frames.ts';
import type { Plan } from './plan.ts';
import { project } from './projector.ts';
import { scope } from './tensor/scope.ts';
import type { Trace } from './tensor/trace.ts';
import type { ImagePrompt } from './text/prompt.ts';
import { checkPictures, checkPixels } from './vision/select.ts';
import { clipTower } from './vision/tower.ts';

/** How the decoder writes, and who watches. */
export type AnswerOptions = Omit<GenerateOptions, 'hook' | 'numberToken'>;
/** What the tower has shown of B pictures. */
export type SeenPictures = Awaited<ReturnType<typeof see>>;
/** The answers' tokens, how many tokens each layer's cache held after the prompt, and the patches that were kept. */
export type Answer = Awaited<ReturnType<typeof answer>>;

/**
 * From pictures to answers.
 * @param pixels [B, S, S, 3], preprocessed; of clips all frames, one clip's after another's
 * @param plan a method's, for this model and these prompts; see {@link prepareAnswer}
 * @throws UserError for pixels that are none, or when a prompt and its answer exceed the decoder's context
 */
// prettier-ignore
export async function answer(model: Llava, pixels: tf.Tensor4D, prompts: ImagePrompt[], plan: Plan, options: AnswerOptions) {
  using own = scope(); // what is made here is gone at the end, whatever happens
  checkPictures(pixels, prompts, plan.views?.views.length);
  const seen = own(await see(model, pixels, plan, options.trace));
  const picture = own(await choose(model, seen, plan, options.trace));
  return { ...(await reply(model, picture, prompts, plan, options)), kept: picture.kept, scores: picture.scores };
}

/** The tower looks, once for all that is asked about the pictures. The caller disposes what it saw. */
// prettier-ignore
export async function see({ config, vision }: Llava, pixels: tf.Tensor4D, plan: Pick<Plan, 'needs' | 'inTower'>, trace?: Trace) {
  using own = scope();
  await checkPixels(pixels, config.vision.image_size);

  // The ViT, layer by layer: A_l = softmax(Q·Kᵀ/√C). ToMe: in each layer X ← W·X, [CLS] apart      vision/tower.ts
  // F = hidden[−2][:, 1:] in LLaVA-1.5: every token but [CLS]; P of them, U after ToMe [B, P, D]    vision/select.ts
  const needs = { ...plan.needs, features: config.vision_feature_layer };
  const seen = own(await clipTower(vision).run(pixels, needs, plan.inTower, trace));
  trace?.record('vision.features', seen.features.F());
  return own.keep(seen);
}

/** The method chooses by what was seen; for one that acts elsewhere W keeps all. The caller disposes the tokens. */
// prettier-ignore
export async function choose(model: Llava, seen: SeenPictures, plan: Plan, trace?: Trace): Promise<CompressedPictures> {
  using own = scope();
  const sight = joinPictures(seen, plan, own); // a clip's frames, or LLaVA-NeXT's views    compress/frames.ts, compress/views.ts
  // VTC-CLS: s = Σ of the last K layers' mean over heads of A_l[:, :, 0, 1:], [CLS] to patches; W has a 1 for each of the
  // top-U of s. PruMerge: such a 1, and the weights of what is like it         compress/vtc-cls.ts, compress/prumerge.ts
  const choice = await plan.choose(shownOf({ ...model, ...plan.brings }, sight)); // a system may bring its own parts
  // F' = W·F; where W picks, the last layer's MLP runs for what it picks        [B, U, D]  vision/features.ts
  return compress(choice, sight, plan, trace);
}

/** The decoder reads the prompts with their pictures, and answers. */
// prettier-ignore
export async function reply(model: Llava, picture: Pick<CompressedPictures, 'tokens' | 'places' | 'runs' | 'rowEnds'>, prompts: ImagePrompt[], plan: Plan, options: AnswerOptions) {
  using own = scope();
  const { projector, decoder } = { ...model, ...plan.brings };
  // Z = gelu(F'·W₁ + b₁)·W₂ + b₂                                                    [B, U, E]         projector.ts
  const Z = own(endRows(project(projector, picture.tokens), picture.rowEnds, model.newline)); // NeXT's rows of crops
  options.trace?.record('projector.output', Z);

  // X = [text before | Z | text after]; of a clip [text | Z₁ | Z₂ | … | text]       [B, T, E]    decoder/splice.ts
  const X = own(splicePictures(decoder, prompts, Z, picture, plan.output));

  // The decoder reads X once, filling its caches. FastV: before layer k the image's rows ← W·them  decoder/llama.ts
  const session = own(await prefill(decoder, X, { ...options, hook: plan.between?.(), numberToken: plan.output }));
  const prefillLengths = cacheLengths(session.cache); // by layer, after the prompt
  // Then it writes a token a step, and what numbers are meant by those that stand for some        decoder/generate.ts
  return { ...(await writeOn(decoder, session, options)), promptTokens: X.hidden.shape[1], prefillLengths };
}
