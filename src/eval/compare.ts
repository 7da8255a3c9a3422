/** Every method on one picture and one question, beside the model without any. */
import * as tf from '@tensorflow/tfjs-core';
import type { LlavaConfig } from '../checkpoint/architecture.ts';
import type { Llava } from '../checkpoint/load.ts';
import type { Fates } from '../compress/method.ts';
import { none } from '../compress/none.ts';
import { spliceImage } from '../decoder/splice.ts';
import { UserError } from '../errors.ts';
import { project } from '../projector.ts';
import type { ImagePrompt } from '../text/prompt.ts';
import { patchCount } from '../vision/config.ts';
import { asksOf, checkVlm, describeSource, hookOf, mergeOf } from '../fit.ts';
import {
  answerPrompts,
  compressPictures,
  seePictures,
  type CompressedPictures,
  type VlmOptions,
} from '../vlm.ts';
import { followHook, followMerge } from './follow.ts';
import { answerProbability, type AskedAnswer } from './probability.ts';
import type { Variant } from './variant.ts';

export interface ComparedQuestion {
  pixels: tf.Tensor4D; // [1, S, S, 3], preprocessed
  prompt: ImagePrompt;
  /** U, patches to keep. */
  budget: number;
  maxNewTokens: number;
  stopTokens: readonly number[];
}

/** What a method made of the question. */
export interface Compared {
  variant: Variant;
  tokens: number[];
  /** Of the unpruned model's answer, its end included. */
  probability: number;
  /** From pixels to answer, by the clock: the median of three rounds, where all methods' take less than ten seconds. */
  milliseconds: number;
  layerTokens: number[];
  /** Patches that the last decoder layer still sees as themselves. */
  kept: number[];
  /** Tokens that are no patch of their own: means, merged ones. */
  made: number;
  /** Where there are such: for each patch the token that it is the largest part of, −1 for none. */
  groups?: number[];
}

/** A method that this model or budget cannot have. */
export interface Refused {
  variant: Variant;
  reason: string;
}

export const wasRefused = (row: Compared | Refused): row is Refused => 'reason' in row;
export const wasAnswered = (row: Compared | Refused): row is Compared => !wasRefused(row);

/** The unpruned model, as a variant. */
const unpruned: Variant = {
  method: none,
  methodOptions: {},
  positions: 'contiguous',
  name: none.name,
  series: none.name,
};

/**
 * @param onMethod called with the number of methods done
 * @throws UserError when even the unpruned model cannot answer
 */
export async function compareMethods(
  model: Llava,
  question: ComparedQuestion,
  variants: readonly Variant[],
  onMethod?: (done: number) => void,
): Promise<(Compared | Refused)[]> {
  const whole = { ...question, budget: patchCount(model.config.vision) };
  const { tokens } = await answerOnce(model, whole, unpruned);
  const ended = tokens.length < question.maxNewTokens;
  const asked: AskedAnswer = { tokens, stopTokens: ended ? question.stopTokens : [] };
  const rows: (Compared | Refused)[] = [await compareOne(model, whole, unpruned, asked)];
  for (const variant of variants) {
    onMethod?.(rows.length);
    if (variant.method === none) continue;
    try {
      rows.push(await compareOne(model, question, variant, asked));
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      rows.push({ variant, reason: error.message });
    }
  }
  await measureTimes(
    rows.filter(wasAnswered).map((row, i) => ({
      row,
      again: () => answerOnce(model, i === 0 ? whole : question, row.variant),
    })),
  );
  return rows;
}

/** Everything is warm by now: in rounds over all methods, so that what else the machine does falls on all alike. */
async function measureTimes(rows: { row: Compared; again: () => Promise<Answered> }[]): Promise<void> {
  const times = rows.map((): number[] => []);
  const round = rows.reduce((sum, { row }) => sum + row.milliseconds, 0);
  for (let rounds = 0; rounds < 3 && (rounds + 1) * round < 10_000; rounds++) {
    for (const [i, { again }] of rows.entries()) times[i].push((await again()).milliseconds);
  }
  for (const [i, { row }] of rows.entries()) {
    const sorted = times[i].sort((a, b) => a - b);
    if (sorted.length > 0) row.milliseconds = sorted[Math.floor(sorted.length / 2)];
  }
}

interface Answered {
  tokens: number[];
  layerTokens: number[];
  milliseconds: number;
}

/** From pixels to answer, by the clock. */
async function answerOnce(model: Llava, question: ComparedQuestion, variant: Variant): Promise<Answered> {
  const options = optionsOf(question, variant);
  const { prompt } = question;
  checkVlm(model.config, [prompt], options);
  const begun = performance.now();
  const answer = await withPicture(model, question, options, (picture) =>
    answerPrompts(model, picture, [prompt], options),
  );
  const milliseconds = performance.now() - begun;
  return { tokens: answer.tokens[0], layerTokens: answer.prefillLengths, milliseconds };
}

const optionsOf = ({ budget, maxNewTokens, stopTokens }: ComparedQuestion, variant: Variant): VlmOptions => ({
  ...variant,
  budget,
  maxNewTokens,
  stopTokens,
});

/** Answers, then goes through it once more under observation, which takes time of its own. */
async function compareOne(
  model: Llava,
  question: ComparedQuestion,
  variant: Variant,
  asked: AskedAnswer,
): Promise<Compared> {
  const answered = await answerOnce(model, question, variant);
  const { method, tell } = watch(model.config, variant);
  const watched = { ...optionsOf(question, variant), method };
  return withPicture(model, question, watched, async (picture) => {
    const probability = await likelihood(model, picture.tokens, question.prompt, asked, watched);
    const { kept, made, groups } = tell?.() ?? tellFates(picture);
    return { variant, ...answered, probability, kept, made, groups: made > 0 ? groups : undefined };
  });
}

/** What the tower and the method make of the picture, for a while. */
async function withPicture<T>(
  model: Llava,
  { pixels, prompt }: ComparedQuestion,
  options: VlmOptions,
  use: (picture: CompressedPictures) => Promise<T>,
): Promise<T> {
  const { config } = model;
  const seen = seePictures(model, pixels, asksOf(config, options), {}, mergeOf(config, options));
  try {
    const picture = await compressPictures(seen, options, [prompt]);
    try {
      return await use(picture);
    } finally {
      picture.tokens.dispose();
    }
  } finally {
    seen.dispose();
  }
}

/** 1 where the checkpoint keeps [CLS] before the patches. */
const firstPatch = (config: LlavaConfig): number =>
  describeSource(config).visualTokens - patchCount(config.vision);

/** A method that works between layers is followed; one after the tower says itself what it made of the patches. */
function watch(
  config: LlavaConfig,
  { method }: Variant,
): { method: VlmOptions['method']; tell?: () => Fates } {
  let tell: (() => Fates) | undefined;
  const heed = <T extends { tell: () => Fates }>(followed: T): T => {
    tell = followed.tell;
    return followed;
  };
  const told = () => tell!();
  if (method.where === 'decoder') {
    const hook: typeof method.hook = (...known) =>
      heed(followHook(method.hook(...known), firstPatch(config))).hook;
    return { method: { ...method, hook }, tell: told };
  }
  if (!method.merge) return { method };
  const merge: typeof method.merge = (...known) => heed(followMerge(method.merge!(...known))).merge;
  return { method: { ...method, merge }, tell: told };
}

/** What a method after the tower made of the patches. */
function tellFates({ choice, fates }: CompressedPictures): Fates {
  return fates ? fates()[0] : { kept: choice.kept?.[0] ?? [], made: 0, groups: [] };
}

/** Of the asked answer, after a picture as the method left it. */
async function likelihood(
  { config, projector, decoder }: Llava,
  picture: tf.Tensor3D,
  prompt: ImagePrompt,
  asked: AskedAnswer,
  options: VlmOptions,
): Promise<number> {
  const hook = hookOf(config, options);
  const visual = project(projector, picture);
  const input = spliceImage(decoder, [prompt], visual);
  try {
    return await answerProbability(decoder, input, asked, hook);
  } finally {
    tf.dispose([visual, input.hidden, input.positions]);
  }
}
