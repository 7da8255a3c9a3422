/** From pictures and words to what a model takes: pixels, and a prompt cut at the picture. */
import * as tf from '@tensorflow/tfjs-core';
import {
  typeOf,
  viewsOf,
  visualTokenCount,
  type ClipConfig,
  type LlavaConfig,
} from './checkpoint/architecture.ts';
import { readCheckedConfig } from './checkpoint/load.ts';
import { UserError } from './errors.ts';
import type { Folder } from './folder.ts';
import type { Picture, Sides } from './image/picture.ts';
import { preprocessViews, type PreprocessConfig } from './image/preprocess.ts';
import type { Views } from './image/views.ts';
import { checkIds, cutAtImages, readPromptTemplate, textOf, type ImagePrompt } from './text/prompt.ts';
import { inPlace, type Runner } from './text/runner.ts';
import type { TemplateSource } from './text/template.ts';
import { readTokenizer, type Tokenizer } from './text/tokenizer.ts';
import type { ClipTextConfig } from './vision/text-config.ts';
import { findTextEnds } from './vision/text.ts';

/** A picture as the tower takes it, and how it was made. */
export interface LoadedPicture {
  pixels: tf.Tensor4D; // [1, S, S, 3]; of a picture that is seen as several [V, S, S, 3]
  values: Float32Array; // the same, on the host
  config: PreprocessConfig;
  /** What it was. */
  size: Sides;
}

/** A picture as a vision tower wants it that takes S × S pixels. The caller disposes its pixels. */
export function takePicture(picture: Picture, config: PreprocessConfig, imageSize: number): LoadedPicture {
  const values = preprocessViews(picture, config);
  const V = values.length / (3 * imageSize ** 2);
  const { width, height } = picture;
  return {
    pixels: tf.tensor4d(values, [V, imageSize, imageSize, 3]),
    values,
    config,
    size: { width, height },
  };
}

/**
 * How a checkpoint sees a picture; undefined where it sees it as one.
 * @throws UserError where its image processor makes other views of a picture than its config says
 */
export function viewsOfPicture(
  config: LlavaConfig,
  { config: { pinpoints }, size }: Pick<LoadedPicture, 'config' | 'size'>,
): Views | undefined {
  const list = (sides?: readonly Sides[]) =>
    sides ? `[${sides.map(({ width, height }) => `[${height},${width}]`).join()}]` : 'none';
  const [made, wanted] = [list(pinpoints), list(config.image_grid_pinpoints)];
  if (made === wanted) return viewsOf(config, size);
  throw new UserError(
    `the folder's image processor and its config.json differ in image_grid_pinpoints: ${made} and ${wanted}`,
  );
}

/** How a question becomes the prompt, where the folder's own way is not wanted. */
export interface Wording {
  /** A CLIP's folder, whose text tower reads the question too. */
  clip?: Folder;
  /** Reads a chat template, instead of the folder's. */
  template?: () => Promise<TemplateSource>;
  /** Words behind the model's own, of a system that adds some. */
  adds?: readonly string[];
  /** How many pictures the question is about, in a row where the template puts one; 1 where left out. */
  pictures?: number;
}

/**
 * What it takes to ask a checkpoint in words: its tokenizer, and how a question becomes the prompt that it was trained
 * on, cut at the picture.
 * @throws UserError for a folder that cannot be asked in words
 */
export async function readAsker(
  folder: Folder,
  config: LlavaConfig,
  { clip, template, adds = [], pictures }: Wording = {},
  runner: Runner = inPlace,
): Promise<Asker> {
  const tokenizer = await openTokenizer(folder, config, adds, runner);
  const image = tokenizer.tokenOf(config.image_token_index);
  const writePrompt = await readPromptTemplate(folder, { template: await template?.(), image }, runner);
  const readWords =
    clip === undefined ? undefined : await readWording(clip, (await readClipConfig(clip)).text, runner);
  const ask = (question: string) => {
    const prompt = tokenizePrompt(writePrompt(question), tokenizer, config, { adds, pictures });
    return readWords ? { ...prompt, question: readWords(question, 'the question') } : prompt;
  };
  return { ask, tokenizer };
}

/** What turns questions into prompts. */
export interface Asker {
  /** One question's prompt. */
  ask: (question: string) => ImagePrompt;
  tokenizer: Tokenizer;
}

/** The folder's tokenizer, and the words that a system adds. */
function openTokenizer(folder: Folder, { text }: LlavaConfig, adds: readonly string[], runner: Runner) {
  const ids = Object.fromEntries(adds.map((word, i) => [word, text.vocab_size + i]));
  return readTokenizer(folder, text.bos_token_id, runner, ids);
}

function tokenizePrompt(
  text: string,
  tokenizer: Tokenizer,
  config: LlavaConfig,
  { adds = [], pictures }: Pick<Wording, 'adds' | 'pictures'>,
): ImagePrompt {
  // A template may have written the BOS token itself; then nothing more is added, as in transformers.
  const plain = tokenizer.encodePlain(text);
  const ids = plain[0] === config.text.bos_token_id ? plain : tokenizer.encode(text);
  return cutPrompt(ids, config, 'the prompt', { more: adds.length, pictures });
}

/** What is asked of a picture: a question that the template puts into words, or the words themselves. */
export interface Asked extends Wording {
  question?: string;
  /** The whole prompt, the image token where the picture goes. */
  prompt?: string;
}

/**
 * One question, by {@link readAsker}, or one prompt as it is given.
 * @throws UserError also for both or neither, and for a prompt without the image token
 */
export async function readQuestion(
  folder: Folder,
  config: LlavaConfig,
  asked: Asked | string,
  runner: Runner = inPlace,
): Promise<{ prompt: ImagePrompt; tokenizer: Tokenizer }> {
  const given: Asked = typeof asked === 'string' ? { question: asked } : asked;
  const { question, prompt, clip, template, adds = [], pictures } = given;
  if (prompt === undefined) {
    if (question === undefined) throw new UserError('something must be asked: give --question or --prompt');
    const { ask, tokenizer } = await readAsker(folder, config, { clip, template, adds, pictures }, runner);
    return { prompt: ask(question), tokenizer };
  }
  const other = question !== undefined ? '--question' : template !== undefined ? '--template' : undefined;
  if (other !== undefined) throw new UserError(`--prompt is the whole prompt: leave ${other} out`);
  if (clip !== undefined)
    throw new UserError('a method that reads the question needs --question, not --prompt');
  const tokenizer = await openTokenizer(folder, config, adds, runner);
  const image = tokenizer.tokenOf(config.image_token_index) ?? '<image>';
  if (!prompt.includes(image)) {
    throw new UserError(
      `--prompt has no ${image}, which says where the picture goes: ${JSON.stringify(prompt)}`,
    );
  }
  return { prompt: tokenizePrompt(prompt, tokenizer, config, { adds, pictures }), tokenizer };
}

/** @throws UserError when the folder holds no CLIP, or one without its text tower */
export async function readClipConfig(folder: Folder): Promise<ClipConfig & { text: ClipTextConfig }> {
  const architecture = await readCheckedConfig(folder);
  const dir = folder.name;
  if (architecture.kind !== 'clip') {
    throw new UserError(`${dir} is a ${typeOf(architecture)} checkpoint; a CLIP is needed here`);
  }
  const { text } = architecture;
  if (!text) throw new UserError(`${dir} is CLIP's vision tower alone: it knows no words`);
  return { ...architecture, text };
}

/**
 * How a text becomes token ids of CLIP's text tower, with those that begin and end it, as the folder's tokenizer adds
 * them. A text that the tower cannot read is refused, named as the caller says.
 */
export async function readWording(
  folder: Folder,
  config: ClipTextConfig,
  runner: Runner = inPlace,
): Promise<(text: string, what: string) => number[]> {
  const tokenizer = await readTokenizer(folder, null, runner);
  return (text, what) => {
    const ids = tokenizer.encode(text);
    checkIds(ids, config.vocab_size, what);
    if (ids.length > config.max_position_embeddings) {
      throw new UserError(
        `${what} takes ${ids.length} tokens; the text tower reads at most ${config.max_position_embeddings}`,
      );
    }
    findTextEnds([ids], config.eos_token_id);
    return ids;
  };
}

/**
 * Token ids, checked and cut at their pictures.
 * @param what names them in a message
 * @param more words that a system adds to the model's; how many pictures there are, and how one is seen
 */
export function cutPrompt(
  ids: readonly number[],
  config: LlavaConfig,
  what: string,
  { more = 0, pictures = 1, views }: { more?: number; pictures?: number; views?: Views } = {},
): ImagePrompt {
  const prompt = cutAtImages(ids, config.image_token_index, visualTokenCount(config, views), pictures);
  checkIds(textOf(prompt), config.text.vocab_size + more, what);
  return prompt;
}
