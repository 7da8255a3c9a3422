import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Template } from '@huggingface/jinja';
import { messageOf, UserError } from '../errors.ts';
import { isObject, readJson } from '../json.ts';

/** A question about a picture → the text that the model was trained to continue, `<image>` where the picture goes. */
export type PromptTemplate = (question: string) => string;

/** LLaVA-1.5's conversation, as its Hugging Face checkpoints write it. */
export const llavaPrompt: PromptTemplate = (question) => `USER: <image>\n${question} ASSISTANT:`;

/**
 * The chat template of a Hugging Face folder: `chat_template.jinja`, `chat_template.json`, or `chat_template` in
 * `processor_config.json` or `tokenizer_config.json`; without any, {@link llavaPrompt}.
 */
export async function readPromptTemplate(dir: string): Promise<PromptTemplate> {
  const source = await findTemplate(dir);
  if (source === undefined) return llavaPrompt;
  const special = (await readJson(path.join(dir, 'tokenizer_config.json'))) ?? {};
  const orRefuse = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw new UserError(`the chat template in ${dir} cannot be used: ${messageOf(error)}`);
    }
  };
  const template = orRefuse(() => new Template(source));
  return (question) =>
    orRefuse(() =>
      template.render({
        messages: [{ role: 'user', content: [{ type: 'image' }, { type: 'text', text: question }] }],
        add_generation_prompt: true,
        bos_token: tokenText(special['bos_token']),
        eos_token: tokenText(special['eos_token']),
      }),
    );
}

async function findTemplate(dir: string): Promise<string | undefined> {
  try {
    return await readFile(path.join(dir, 'chat_template.jinja'), 'utf8');
  } catch {
    // An older folder keeps it in a JSON file.
  }
  for (const name of ['chat_template.json', 'processor_config.json', 'tokenizer_config.json']) {
    const template = (await readJson(path.join(dir, name)))?.['chat_template'];
    if (typeof template === 'string') return template;
    if (template !== undefined && template !== null) {
      throw new UserError(`${path.join(dir, name)}: chat_template should be one template`);
    }
  }
  return undefined;
}

/** A special token in tokenizer_config.json is a string or an object that holds it. */
function tokenText(token: unknown): string {
  const text = isObject(token) ? token['content'] : token;
  return typeof text === 'string' ? text : '';
}

/** A prompt's token ids, cut at the picture. */
export interface ImagePrompt {
  before: number[];
  after: number[];
  /** The question alone, in tokens of CLIP's text tower, for a method that reads it. */
  question?: number[];
}

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
 * @param what names the source in the message, e.g. `--ids`
 * @throws UserError for an id outside the vocabulary: a gather would read past the table without a word
 */
export function checkIds(ids: readonly number[], vocabulary: number, what: string): void {
  const bad = ids.find((id) => !Number.isSafeInteger(id) || id < 0 || id >= vocabulary);
  if (bad !== undefined) throw new UserError(`${what}: ${bad} is not a token id (0 .. ${vocabulary - 1})`);
}
