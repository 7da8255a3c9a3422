import path from 'node:path';
import * as library from '@huggingface/tokenizers';
import { messageOf, UserError } from '../errors.ts';
import { isObject, readJson } from '../json.ts';

/** The part of the library used here; its own type files do not resolve under Node's rules for modules. */
interface LibraryTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
  decode(
    ids: number[],
    options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean },
  ): string;
}
const LibraryTokenizer = library.Tokenizer as new (tokenizer: object, config: object) => LibraryTokenizer;

/** Text to token ids and back, as the checkpoint's own tokenizer does it. */
export interface Tokenizer {
  /** @returns ids, with the tokens that its post-processor adds, and led by the BOS token if the model has one */
  encode(text: string): number[];
  /** @returns ids, with only the special tokens that the text itself names */
  encodePlain(text: string): number[];
  /** @returns text without special tokens; '' for no ids */
  decode(ids: readonly number[]): string;
}

/**
 * Reads a Hugging Face folder's `tokenizer.json` and, where it stands beside it, `tokenizer_config.json`.
 * @param bosToken put in front when the tokenizer's own post-processor does not, as LLaMA expects
 * @throws UserError when there is none, or it is not a tokenizer
 */
export async function readTokenizer(dir: string, bosToken: number | null): Promise<Tokenizer> {
  const file = path.join(dir, 'tokenizer.json');
  const json = await readJson(file);
  if (!json)
    throw new UserError(
      `${dir} has no tokenizer.json, so it cannot be asked in words (vtc trace takes --ids)`,
    );
  const config = (await readJson(path.join(dir, 'tokenizer_config.json'))) ?? {};
  if (!isObject(json['model'])) throw new UserError(`${file} holds no tokenizer: its "model" is missing`);
  let tokenizer: LibraryTokenizer;
  try {
    tokenizer = new LibraryTokenizer(json, config);
  } catch (error) {
    throw new UserError(`${file} holds no tokenizer that can be read: ${messageOf(error)}`);
  }
  const addBos = bosToken !== null && config['add_bos_token'] !== false;
  const cleanUp = config['clean_up_tokenization_spaces'] === true;
  return {
    encodePlain: (text) => tokenizer.encode(text, { add_special_tokens: false }).ids,
    encode(text) {
      const { ids } = tokenizer.encode(text, { add_special_tokens: true });
      return addBos && ids[0] !== bosToken ? [bosToken, ...ids] : ids;
    },
    decode(ids) {
      if (ids.length === 0) return '';
      return tokenizer.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: cleanUp });
    },
  };
}
