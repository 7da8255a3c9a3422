import * as library from '@huggingface/tokenizers';
import { messageOf, UserError } from '../errors.ts';
import { readJson, type Folder } from '../folder.ts';
import { isObject, type JsonObject } from '../json.ts';
import { byteOf, mend, refuseUnsupported, type LibraryParts } from './mend.ts';
import { inPlace, type Runner } from './runner.ts';

/** The part of the library used here; its own type files do not resolve under Node's rules for modules. */
interface LibraryTokenizer extends LibraryParts {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] };
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
  /** @returns how an id's token is written, if there is one */
  tokenOf(id: number): string | undefined;
  /** Is it a byte of a fallback? Such a run has its text only when it has ended. */
  isByte(id: number): boolean;
}

/**
 * Reads a Hugging Face folder's `tokenizer.json` and, where they stand beside it, `tokenizer_config.json` and
 * `added_tokens.json`.
 * @param bosToken put in front when the tokenizer's own post-processor does not, as LLaMA expects
 * @param adds further words, with their ids
 * @throws UserError when there is none, or it is not a tokenizer, or one that cannot be computed as the Rust library
 * does; its functions throw one where the folder's data fails only on a text
 */
export async function readTokenizer(
  folder: Folder,
  bosToken: number | null,
  runner: Runner = inPlace,
  adds: Record<string, number> = {},
): Promise<Tokenizer> {
  const json = await readJson(folder, 'tokenizer.json');
  if (!json)
    throw new UserError(
      `${folder.name} has no tokenizer.json, so it cannot be asked in words (vtc trace takes --ids)`,
    );
  const config = (await readJson(folder, 'tokenizer_config.json')) ?? {};
  const file = folder.place('tokenizer.json');
  if (!isObject(json['model'])) throw new UserError(`${file} holds no tokenizer: its "model" is missing`);
  const older = { ...(await readJson(folder, 'added_tokens.json')), ...adds };
  return makeTokenizer({ json, config, older, file }, bosToken, runner);
}

/** A tokenizer's files, parsed. */
interface TokenizerFiles {
  json: JsonObject;
  config: JsonObject;
  /** Added tokens as older folders keep them. */
  older: JsonObject;
  /** Names the first in messages. */
  file: string;
}

function makeTokenizer(
  { json, config, older, file }: TokenizerFiles,
  bosToken: number | null,
  { withinTime }: Runner,
): Tokenizer {
  const whole = withAddedTokens(json, config, older);
  const orRefuse = <T>(what: string, work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw new UserError(`${file} ${what}: ${messageOf(error)}`);
    }
  };
  const tokenizer = orRefuse('holds no tokenizer that can be read', () => {
    refuseUnsupported(whole);
    const made = new LibraryTokenizer(whole, config);
    mend(made, whole);
    return made;
  });
  // Qwen2's config.json names a BOS token; that its tokenizer has none stands here, as null.
  const addBos = bosToken !== null && config['add_bos_token'] !== false && config['bos_token'] !== null;
  const cleanUp = config['clean_up_tokenization_spaces'] === true;
  const encodeText = (text: string, special: boolean): number[] =>
    orRefuse('cannot encode a text', () => {
      const { ids } = withinTime(() => tokenizer.encode(text, { add_special_tokens: special }));
      return ids.filter((id) => {
        if (id !== undefined && !Number.isSafeInteger(id)) throw new Error(`${String(id)} is not a token id`);
        return id !== undefined; // a character that it has no token for, not even an unknown one
      }) as number[];
    });
  return {
    encodePlain: (text) => encodeText(text, false),
    encode(text) {
      const ids = encodeText(text, true);
      return addBos && ids[0] !== bosToken ? [bosToken, ...ids] : ids;
    },
    decode: (ids) =>
      orRefuse('cannot decode token ids', () => {
        const known = ids.filter((id) => tokenizer.model.vocab[id] !== undefined);
        if (known.length === 0) return '';
        const options = { skip_special_tokens: true, clean_up_tokenization_spaces: cleanUp };
        return withinTime(() => tokenizer.decode(known, options));
      }),
    tokenOf: (id) =>
      tokenizer.added_tokens.find((token) => token.id === id)?.content ?? tokenizer.model.vocab[id],
    isByte: (id) => hasByteFallback(whole['decoder']) && byteOf(tokenizer.model.vocab[id]) !== undefined,
  };
}

const hasByteFallback = (decoder: unknown): boolean =>
  isObject(decoder) &&
  (decoder['type'] === 'ByteFallback' ||
    (Array.isArray(decoder['decoders']) && decoder['decoders'].some(hasByteFallback)));

/** What Rust takes for absent fields, and the added tokens that stand only in the files beside it, as older folders have them. */
function withAddedTokens(json: JsonObject, config: JsonObject, older: JsonObject): JsonObject {
  const own = Array.isArray(json['added_tokens']) ? (json['added_tokens'] as unknown[]) : [];
  const listed = isObject(config['added_tokens_decoder']) ? config['added_tokens_decoder'] : {};
  const beside = [
    ...Object.entries(listed).map(([id, token]) => ({ ...(isObject(token) ? token : {}), id: Number(id) })),
    ...Object.entries(older).map(([content, id]) => ({ content, id, special: false, normalized: true })),
  ] as JsonObject[];
  const { vocab } = json['model'] as JsonObject;
  const taken = new Set<unknown>(own.filter(isObject).flatMap((token) => [token['content'], token['id']]));
  const more = beside.filter(({ content, id }) => {
    const known = typeof content !== 'string' || content === '' || !Number.isSafeInteger(id);
    if (known || taken.has(content) || taken.has(id)) return false;
    if (isObject(vocab) && (vocab[content] ?? id) !== id) return false;
    return taken.add(content).add(id);
  });
  const parts = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  return { ...parts, ...json, added_tokens: [...own, ...more] };
}
