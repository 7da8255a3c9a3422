import { messageOf, UserError } from '../errors.ts';
import type { Folder } from '../folder.ts';
import { inPlace, overLimit, type Runner } from './runner.ts';
import { findTemplate, readSpecialTokens, type TemplateSource } from './template.ts';

/** A question about a picture → the text that the model was trained to continue, `<image>` where the picture goes. */
export type PromptTemplate = (question: string) => string;

/** LLaVA-1.5's conversation, as its Hugging Face checkpoints write it. */
export const llavaPrompt: PromptTemplate = (question) => `USER: <image>\n${question} ASSISTANT:`;

/** What the caller knows better than the folder. */
export interface TemplateChoice {
  /** Taken instead of the folder's. */
  template?: TemplateSource;
  /** How the picture's place is written. */
  image?: string;
}

/**
 * The chat template of a Hugging Face folder, found where transformers looks; without any, {@link llavaPrompt}. A
 * template that takes a message's content as plain text is given the image token and a line break before the question,
 * as LLaVA's own code writes them.
 */
export async function readPromptTemplate(
  folder: Folder,
  { template, image = '<image>' }: TemplateChoice = {},
  { render: run }: Runner = inPlace,
): Promise<PromptTemplate> {
  const found = template ?? (await findTemplate(folder));
  if (found === undefined) {
    return image === '<image>' ? llavaPrompt : (question) => `USER: ${image}\n${question} ASSISTANT:`;
  }
  const { source, file } = found;
  const tokens = await readSpecialTokens(folder);
  const refusal = (error: unknown) =>
    new UserError(`the chat template of ${file} cannot be used: ${messageOf(error)}`);
  const render = (content: unknown): string | UserError => {
    const messages = [{ role: 'user', content }];
    try {
      const given = { messages, tools: null, documents: null, add_generation_prompt: true };
      return run(source, { ...given, ...tokens });
    } catch (error) {
      if ((error as Error).cause === overLimit) throw refusal(error); // as text it would not end either
      return refusal(error);
    }
  };
  return (question) => {
    const asParts = render([{ type: 'image' }, { type: 'text', text: question }]);
    if (typeof asParts === 'string' && asParts.includes(image) && asParts.includes(question.trim())) {
      return asParts;
    }
    const asText = render(`${image}\n${question}`);
    if (typeof asText === 'string' && asText.includes(image) && asText.includes(question.trim())) {
      return asText;
    }
    if (typeof asParts !== 'string') throw asParts;
    if (asParts.includes(image)) return asParts; // it writes the question in a way of its own
    const shown = JSON.stringify(asParts.length > 200 ? `${asParts.slice(0, 200)}…` : asParts);
    throw new UserError(
      `the chat template of ${file} makes a prompt without ${image}: ${shown}; ` +
        'give another by --template, or the whole prompt by --prompt',
    );
  };
}

/** A prompt's token ids, cut at the picture. */
export interface ImagePrompt {
  before: number[];
  /** Of a prompt with several pictures, such as a clip's frames: what stands between one and the next. */
  between?: number[][];
  after: number[];
  /** The question alone, in tokens of CLIP's text tower, for a method that reads it. */
  question?: number[];
  /** What each of its number tokens stands for, in order; see decoder/number-token.ts. */
  numbers?: readonly (readonly number[])[];
}

/** All of a prompt but its pictures. */
export const textOf = ({ before, between = [], after }: ImagePrompt): number[] => [
  ...before,
  ...between.flat(),
  ...after,
];

/** How many pictures a prompt has. */
export const countPictures = ({ between = [] }: ImagePrompt): number => 1 + between.length;

/**
 * Cuts a prompt at its picture. The image token may stand once, or once for each visual token, as Hugging Face's
 * processor writes it.
 * @param visualTokens how many tokens the unpruned picture takes
 * @throws UserError when the run of image tokens is absent, broken or of another length
 */
export function cutAtImage(ids: readonly number[], imageToken: number, visualTokens: number): ImagePrompt {
  const first = ids.indexOf(imageToken);
  const count = ids.filter((id) => id === imageToken).length;
  const inOneRun = ids.lastIndexOf(imageToken) - first === count - 1;
  if (count === 0) throw new UserError(`the prompt has no image token (${imageToken})`);
  if (!inOneRun || (count !== 1 && count !== visualTokens)) {
    throw new UserError(
      `the prompt has ${count} image tokens (${imageToken})${inOneRun ? '' : ' in several places'}, ` +
        `but one picture takes 1 or ${visualTokens} in a row`,
    );
  }
  return { before: ids.slice(0, first), after: ids.slice(first + count) };
}

/**
 * Cuts a prompt at its F pictures: at a single image token all stand, as Video-LLaVA's `<video>` does; else each has one of its
 * own, or one for each of its visual tokens.
 * @throws UserError when there are image tokens for another number of pictures
 */
export function cutAtImages(
  ids: readonly number[],
  imageToken: number,
  visualTokens: number,
  pictures: number,
): ImagePrompt {
  const places = [...ids.keys()].filter((i) => ids[i] === imageToken);
  if (pictures === 1 || places.length <= 1) {
    const prompt = cutAtImage(ids, imageToken, visualTokens);
    return pictures === 1 ? prompt : { ...prompt, between: Array.from({ length: pictures - 1 }, () => []) };
  }
  const each = places.length / pictures;
  const runs = Array.from({ length: pictures }, (_, f) => places.slice(f * each, (f + 1) * each));
  const whole = (run: readonly number[]) => run.at(-1)! - run[0] === each - 1;
  if ((each !== 1 && each !== visualTokens) || !runs.every(whole)) {
    throw new UserError(
      `the prompt has ${places.length} image tokens (${imageToken}), but ${pictures} pictures take ` +
        `1 together, or 1 or ${visualTokens} each in a row`,
    );
  }
  const ends = runs.map((run) => run.at(-1)! + 1);
  return {
    before: ids.slice(0, places[0]),
    between: runs.slice(1).map((run, f) => ids.slice(ends[f], run[0])),
    after: ids.slice(ends.at(-1)),
  };
}

/**
 * @param what names the source in the message, e.g. `--ids`
 * @throws UserError for an id outside the vocabulary: a gather would read past the table without a word
 */
export function checkIds(ids: readonly number[], vocabulary: number, what: string): void {
  const bad = ids.find((id) => !Number.isSafeInteger(id) || id < 0 || id >= vocabulary);
  if (bad !== undefined) throw new UserError(`${what}: ${bad} is not a token id (0 .. ${vocabulary - 1})`);
}
