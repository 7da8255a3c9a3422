/**
 * Asks a model about clips, under one method and budget. An evaluation of its own: album.ts and answer.ts know one picture of
 * each question, seen once for all methods; here a question is about all frames of a clip, and no two clips share one.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Model } from '../../checkpoint/load.ts';
import { preprocess, type PreprocessConfig } from '../../image/preprocess.ts';
import type { Picture } from '../../image/picture.ts';
import { prepareAnswer, type ChosenMethod } from '../../plan.ts';
import { choose, reply, see } from '../../story.ts';
import { scope } from '../../tensor/scope.ts';
import type { Asker } from '../../inputs.ts';
import { textOf, type ImagePrompt } from '../../text/prompt.ts';
import { clipFrames, createClip, frameScenes, type Clip } from '../../world/clip.ts';
import { askClip, type ClipQuestion } from '../../world/clip-questions.ts';
import { drawWorld } from '../../world/draw.ts';
import type { Split } from '../../world/split.ts';
import { createBootstrap } from '../task/bootstrap.ts';
import { isRight, type Accuracy } from '../task/score.ts';
import { costOf, joinPrompts, type Costs, type PromptCount } from './costs.ts';

/** All frames, only the middle one, or all of them grey: what the language alone explains. */
export const clipViews = ['frames', 'middle', 'grey'] as const;
export type ClipView = (typeof clipViews)[number];

export interface ClipExam {
  model: Model;
  /** For so many pictures in a row. */
  askerFor: (pictures: number) => Promise<Asker>;
  preprocessing: PreprocessConfig;
  chosen: ChosenMethod;
  split: Split;
  /** How many clips. */
  count: number;
  view: ClipView;
  onClips?: (done: number) => void;
}

export interface ClipResult extends Costs {
  all: Accuracy;
  byType: Map<string, Accuracy>;
  /** Of reading the prompts and answering, mean over the questions. */
  milliseconds: number;
}

/** Clips of one length that are seen together. */
const together = 8;
const maxNewTokens = 2;

export async function scoreClips(exam: ClipExam): Promise<ClipResult> {
  const clips = Array.from({ length: exam.count }, (_, i) => createClip(exam.split, i));
  const { least, most } = clipFrames;
  const marks: { clip: number; type: string; right: number }[] = [];
  const read: PromptCount[] = [];
  let milliseconds = 0;
  for (let frames = least; frames <= most; frames++) {
    const ofLength = [...clips.keys()].filter((i) => clips[i].frames === frames);
    for (let first = 0; first < ofLength.length; first += together) {
      const some = ofLength.slice(first, first + together);
      const replies = await askTogether(
        exam,
        some.map((i) => clips[i]),
      );
      for (const { clip, question, answer } of replies.answers) {
        marks.push({
          clip: some[clip],
          type: question.type,
          right: Number(isRight(answer, question.answer)),
        });
      }
      read.push(...replies.read);
      milliseconds += replies.milliseconds;
      exam.onClips?.(marks.length);
    }
  }
  const bootstrap = createBootstrap(marks.map(({ clip }) => clip)); // over clips
  const share = (type?: string) =>
    bootstrap.share(marks.map((mark) => (type === undefined || mark.type === type ? mark.right : undefined)));
  const types = [...new Set(marks.map(({ type }) => type))].sort();
  return {
    all: share(),
    byType: new Map(types.map((type) => [type, share(type)])),
    milliseconds: milliseconds / marks.length,
    ...costOf(exam.model.llava!.config.text, joinPrompts(read)),
  };
}

interface Item {
  clip: number; // of those seen together
  question: ClipQuestion;
  prompt: ImagePrompt;
}

/** All questions about some clips of one length. */
async function askTogether(
  { model, askerFor, preprocessing, chosen, view }: ClipExam,
  clips: readonly Clip[],
) {
  using own = scope();
  const llava = model.llava!;
  const shown = clips.map((clip) => showClip(clip, view));
  const F = shown[0].length;
  const { ask, tokenizer } = await askerFor(F);
  const S = llava.config.vision.image_size;
  const values = shown.flat().map((picture) => preprocess(picture, preprocessing));
  const pixels = own(tf.tensor4d(joinValues(values), [values.length, S, S, 3]));
  const items = clips.flatMap((clip, c) =>
    askClip(clip).map((question): Item => ({ clip: c, question, prompt: ask(question.question) })),
  );
  const planFor = (some: readonly Item[]) =>
    prepareAnswer(
      llava.config,
      chosen,
      some.map(({ prompt }) => prompt),
      { maxNewTokens },
    );
  const plan = planFor(items.slice(0, 1));
  const seen = own(await see(llava, pixels, plan));
  const picture = own(await choose(llava, seen, plan));
  const answers: (Item & { answer: string })[] = [];
  const read: PromptCount[] = [];
  let milliseconds = 0;
  for (const length of new Set(items.map(({ prompt }) => textOf(prompt).length))) {
    using own = scope();
    const some = items.filter(({ prompt }) => textOf(prompt).length === length);
    const rows = some.flatMap(({ clip }) => Array.from({ length: F }, (_, f) => clip * F + f));
    const tokens = own(tf.tidy(() => tf.gather(picture.tokens, tf.tensor1d(rows, 'int32'))));
    const prompts = some.map(({ prompt }) => prompt);
    const begun = performance.now();
    const options = { maxNewTokens, stopTokens: model.stopTokens };
    const replied = await reply(llava, { tokens }, prompts, planFor(some), options);
    milliseconds += performance.now() - begun;
    for (const [i, item] of some.entries()) {
      answers.push({ ...item, answer: tokenizer.decode(replied.tokens[i]).trim() });
    }
    read.push({ layers: replied.prefillLengths, questions: some.length });
  }
  return { answers, read, milliseconds };
}

/** What is shown of a clip. */
function showClip(clip: Clip, view: ClipView): Picture[] {
  const pictures = frameScenes(clip).map(drawWorld);
  if (view === 'frames') return pictures;
  if (view === 'middle') return [pictures[Math.floor(clip.frames / 2)]];
  return pictures.map(({ width, height, data }) => ({
    width,
    height,
    data: new Uint8Array(data.length).fill(128),
  }));
}

function joinValues(parts: readonly Float32Array[]): Float32Array {
  const joined = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
