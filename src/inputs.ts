/** From files and words to what a model takes: pixels, and a prompt cut at the picture. */
import * as tf from '@tensorflow/tfjs-core';
import { visualTokenCount, type LlavaConfig } from './checkpoint/architecture.ts';
import { decodeImage } from './image/decode.ts';
import { preprocess, readPreprocessConfig, type PreprocessConfig } from './image/preprocess.ts';
import { checkIds, cutAtImage, readPromptTemplate, type ImagePrompt } from './text/prompt.ts';
import { readTokenizer, type Tokenizer } from './text/tokenizer.ts';

export interface LoadedPicture {
  pixels: tf.Tensor4D; // [1, S, S, 3]
  values: Float32Array; // the same, on the host
  config: PreprocessConfig;
}

/**
 * Reads a picture file as a checkpoint's vision tower wants it. The caller disposes its pixels.
 * @param pad LLaVA's padding to a square, whatever the folder says
 */
export async function readPicture(
  file: string,
  dir: string,
  imageSize: number,
  pad = false,
): Promise<LoadedPicture> {
  const picture = await decodeImage(file);
  const config = await readPreprocessConfig(dir, imageSize, pad);
  const values = preprocess(picture, config);
  return { pixels: tf.tensor4d(values, [1, imageSize, imageSize, 3]), values, config };
}

/**
 * What it takes to ask a checkpoint in words: its tokenizer, and how a question becomes the prompt that it was trained
 * on, cut at the picture.
 * @throws UserError for a folder that cannot be asked in words
 */
export async function readAsker(
  dir: string,
  config: LlavaConfig,
): Promise<{ ask: (question: string) => ImagePrompt; tokenizer: Tokenizer }> {
  const { bos_token_id } = config.text;
  const tokenizer = await readTokenizer(dir, bos_token_id);
  const template = await readPromptTemplate(dir);
  const ask = (question: string) => {
    const text = template(question);
    // A template may have written the BOS token itself; then nothing more is added, as in transformers.
    const plain = tokenizer.encodePlain(text);
    const ids = plain[0] === bos_token_id ? plain : tokenizer.encode(text);
    return cutPrompt(ids, config, 'the prompt');
  };
  return { ask, tokenizer };
}

/** One question, by {@link readAsker}. */
export async function readQuestion(
  dir: string,
  config: LlavaConfig,
  question: string,
): Promise<{ prompt: ImagePrompt; tokenizer: Tokenizer }> {
  const { ask, tokenizer } = await readAsker(dir, config);
  return { prompt: ask(question), tokenizer };
}

/** Token ids, checked and cut at the picture. @param what names them in a message */
export function cutPrompt(ids: readonly number[], config: LlavaConfig, what: string): ImagePrompt {
  const prompt = cutAtImage(ids, config.image_token_index, visualTokenCount(config));
  checkIds([...prompt.before, ...prompt.after], config.text.vocab_size, what);
  return prompt;
}
