/**
 * What @huggingface/tokenizers 0.2.0 does otherwise than the Rust library whose files it reads: mended here, part by
 * part of the tokenizer that it built, or refused by name.
 */
import { isObject, type JsonObject } from '../json.ts';

/** The parts of the library's tokenizer that are reached into. */
export interface LibraryParts {
  normalizer: ((text: string) => string) | null;
  pre_tokenizer: unknown;
  decoder: unknown;
  model: { vocab: (string | undefined)[]; tokens_to_ids: Map<string, number> };
  added_tokens: { id: number; content: string; single_word: boolean; normalized: boolean }[];
  added_tokens_map: Map<string, { single_word: boolean }>;
  splitter_unnormalized: Splitter;
  splitter_normalized: Splitter;
}
interface Splitter {
  split: (text: string) => string[];
}
type Part = Record<string, unknown>;

const mostCharacters = 1_000_000; // no text may be made longer: normalizers in a row can double it again and again
const word = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}'; // \w in Rust's regex

/** @throws Error naming a feature that neither the library nor this file computes as the Rust library does */
export function refuseUnsupported(json: JsonObject): void {
  const model = isObject(json['model']) ? json['model'] : {};
  if (model['type'] === 'BPE' && model['continuing_subword_prefix'])
    refuse('continuing_subword_prefix of BPE');
  if (model['type'] === 'BPE' && model['dropout']) refuse('dropout of BPE');
  if (model['type'] === 'WordLevel') refuse('the model WordLevel');
  if (model['type'] === 'Unigram' && model['byte_fallback'] === true) refuse('byte_fallback of Unigram');
  for (const [part, list] of [
    ['normalizer', 'normalizers'],
    ['pre_tokenizer', 'pretokenizers'],
    ['decoder', 'decoders'],
  ]) {
    for (const { type, pattern } of partsOf(json[part], list)) {
      const { Regex, String: text } = isObject(pattern) ? pattern : {};
      const known = typeof Regex === 'string' || typeof text === 'string';
      if ((type === 'Replace' || type === 'Split') && !known) {
        refuse(`${type} with the pattern ${JSON.stringify(pattern)}`);
      }
    }
  }
  const behaviors = ['Isolated', 'Removed', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'];
  for (const { type, behavior = 'Isolated' } of partsOf(json['pre_tokenizer'], 'pretokenizers')) {
    const splits = type === 'Split' || type === 'Punctuation';
    if (splits && !behaviors.includes(behavior as string))
      refuse(`${type} with behavior ${JSON.stringify(behavior)}`);
  }
  for (const part of partsOf(json['normalizer'], 'normalizers')) {
    if (part['type'] === 'Precompiled') refuse('the normalizer Precompiled');
  }
  const added = Array.isArray(json['added_tokens']) ? json['added_tokens'].filter(isObject) : [];
  for (const { type, special_tokens } of partsOf(json['post_processor'], 'processors')) {
    const named =
      type === 'TemplateProcessing' && isObject(special_tokens) ? Object.entries(special_tokens) : [];
    for (const [name, token] of named) {
      const tokens = isObject(token) ? token['tokens'] : undefined;
      if (!Array.isArray(tokens) || tokens.length !== 1 || tokens[0] !== name) {
        refuse(`a special token of TemplateProcessing that stands for others, ${JSON.stringify(name)},`);
      }
    }
  }
  const first = partsOf(json['pre_tokenizer'], 'pretokenizers').some(
    (part) => part['type'] === 'Metaspace' && part['prepend_scheme'] === 'first',
  );
  if (first && added.some((token) => token['normalized'] === true)) {
    refuse('prepend_scheme first of Metaspace beside normalized added tokens');
  }
}

function refuse(feature: string): never {
  throw new Error(`${feature} is not supported`);
}

/** A part, or the parts of a sequence of them. */
function partsOf(part: unknown, list: string): JsonObject[] {
  if (!isObject(part)) return [];
  const inner =
    part['type'] === 'Sequence' && Array.isArray(part[list]) ? (part[list] as unknown[]) : undefined;
  return inner ? inner.flatMap((one) => partsOf(one, list)) : [part];
}

/** Mends a tokenizer that was built from `json`, in place. */
export function mend(tokenizer: LibraryParts, json: JsonObject): void {
  each(tokenizer.normalizer, json['normalizer'], 'normalizers', (part) => {
    const normalize = (part['normalize'] as (text: string) => string).bind(part);
    part['normalize'] = (text: string) => {
      const made = normalize(text);
      if (made.length > mostCharacters)
        throw new Error(`it makes a text of more than ${mostCharacters} characters`);
      return made;
    };
  });
  each(tokenizer.pre_tokenizer, json['pre_tokenizer'], 'pretokenizers', mendPreTokenizer);
  each(tokenizer.decoder, json['decoder'], 'decoders', mendDecoder);
  nameNormalized(tokenizer);
  if (isObject(json['decoder']) && json['decoder']['type'] === 'BPEDecoder') {
    (tokenizer.decoder as Part)['end_of_word_suffix'] = undefined; // or the text would be trimmed
  }
  const single = new Set(
    tokenizer.added_tokens.filter((token) => token.single_word).map(({ content }) => content),
  );
  for (const splitter of [tokenizer.splitter_unnormalized, tokenizer.splitter_normalized]) {
    const split = splitter.split.bind(splitter);
    if (single.size > 0) splitter.split = (text) => joinInsideWords(split(text), tokenizer.added_tokens_map);
  }
}

/** Rust writes a normalized added token as it is looked for. */
function nameNormalized({ normalizer, added_tokens, model }: LibraryParts): void {
  if (!normalizer) return;
  const known = new Set(added_tokens.filter((token) => !token.normalized).map(({ content }) => content));
  for (const { id, content } of added_tokens.filter((token) => token.normalized)) {
    const normal = normalizer(content);
    if ((model.tokens_to_ids.get(normal) ?? id) !== id) {
      refuse(`an added token that is normalized to another token, ${JSON.stringify(normal)},`);
    }
    if (known.has(normal)) refuse(`a second added token that is normalized to ${JSON.stringify(normal)}`);
    known.add(normal);
    model.vocab[id] = normal;
  }
}

/** Visits the built parts beside their descriptions; a sequence holds its parts under the same name, but for one. */
function each(
  part: unknown,
  json: unknown,
  list: string,
  visit: (part: Part, json: JsonObject) => void,
): void {
  if (!part || !isObject(json)) return;
  const built = part as Part;
  if (json['type'] !== 'Sequence') return visit(built, json);
  const inner = built[list === 'pretokenizers' ? 'tokenizers' : list] as unknown[];
  const described = Array.isArray(json[list]) ? (json[list] as unknown[]) : [];
  inner.forEach((one, i) => each(one, described[i], list, visit));
}

type PreTokenize = (text: string, options?: object) => string[];

function mendPreTokenizer(part: Part, json: JsonObject): void {
  if (json['type'] === 'Whitespace') {
    const pattern = new RegExp(`[${word}]+|[^${word}\\p{White_Space}]+`, 'gu');
    part['pre_tokenize_text'] = (text: string) => text.match(pattern) ?? [];
  }
  if (json['type'] === 'Split' || json['type'] === 'Punctuation') {
    const pattern = json['type'] === 'Split' ? (part['pattern'] as RegExp) : punctuation;
    const behavior = json['behavior'] ?? 'Isolated';
    const invert = json['type'] === 'Split' && json['invert'] === true;
    part['pre_tokenize_text'] = (text: string) => splitBy(text, pattern, behavior, invert);
  }
  if (json['type'] === 'FixedLength') {
    const pattern = new RegExp(`[^]{1,${json['length'] as number}}`, 'gu');
    part['pre_tokenize_text'] = (text: string) => text.match(pattern) ?? [];
  }
  if (json['type'] === 'Digits') {
    part['pattern'] = new RegExp(`\\P{N}+|\\p{N}${json['individual_digits'] === true ? '' : '+'}`, 'gu');
  }
  if (json['type'] === 'Metaspace') {
    if (json['add_prefix_space'] === false) part['prepend_scheme'] = 'never'; // as it was written before
    if (json['split'] === false) return;
    const mark = part['replacement'] as string;
    const preTokenize = (part['pre_tokenize_text'] as PreTokenize).bind(part);
    part['pre_tokenize_text'] = ((text, options) =>
      preTokenize(text, options).flatMap((piece) =>
        piece.split(mark).flatMap((rest, i) => (i > 0 ? [mark + rest] : rest === '' ? [] : [rest])),
      )) satisfies PreTokenize;
  }
}

const punctuation = /[\p{P}!-/:-@[-`{-~]/gu; // ASCII's, which are not all of \p{P}

/** Rust's `SplitDelimiterBehavior`: what becomes of a match, or, inverted, of what is between matches. */
function splitBy(text: string, pattern: RegExp, behavior: unknown, invert: boolean): string[] {
  const pieces: { text: string; match: boolean }[] = [];
  let at = 0;
  const add = (end: number, match: boolean) => {
    if (end > at) pieces.push({ text: text.slice(at, end), match: match !== invert });
    at = Math.max(at, end);
  };
  for (const { index, 0: found } of text.matchAll(pattern)) {
    add(index, false);
    add(index + found.length, true);
  }
  add(text.length, false);
  if (behavior === 'Removed') return pieces.filter(({ match }) => !match).map((piece) => piece.text);
  if (behavior === 'Isolated') return pieces.map((piece) => piece.text);
  const back = behavior === 'MergedWithNext';
  const merged: string[] = [];
  let before = false; // was the piece before this one a match?
  for (const { text: piece, match } of back ? pieces.toReversed() : pieces) {
    const joins = behavior === 'Contiguous' ? match === before : match && !before;
    const last = merged.length - 1;
    if (!joins || last < 0) merged.push(piece);
    else merged[last] = back ? piece + merged[last] : merged[last] + piece;
    before = match;
  }
  return back ? merged.toReversed() : merged;
}

function mendDecoder(part: Part, json: JsonObject): void {
  if (json['type'] === 'ByteFallback') part['decode_chain'] = decodeByteFallback;
  if (json['type'] === 'ByteLevel') {
    const bytes = part['byte_decoder'] as Record<string, string | undefined>;
    part['decode_chain'] = (tokens: string[]) => [decodeByteLevel(tokens, bytes)];
  }
  if (json['type'] === 'Metaspace') {
    const mark = part['replacement'] as string;
    const leads = json['prepend_scheme'] !== 'never' && json['add_prefix_space'] !== false;
    part['decode_chain'] = (tokens: string[]) =>
      tokens.map((token, i) => token.replaceAll(mark, i === 0 && leads ? '' : ' '));
  }
}

/** The byte that a token of the form `<0x0A>` stands for. */
export function byteOf(token: string | undefined): number | undefined {
  const hex = token?.match(/^<0x([0-9A-Fa-f]{2})>$/)?.[1];
  return hex === undefined ? undefined : Number.parseInt(hex, 16);
}

/** A run of byte tokens is its text where it is UTF-8, and otherwise one U+FFFD for each byte. */
function decodeByteFallback(tokens: string[]): string[] {
  const made: string[] = [];
  let run: number[] = [];
  const end = () => {
    if (run.length === 0) return;
    try {
      made.push(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(run)));
    } catch {
      made.push(...run.map(() => '\uFFFD'));
    }
    run = [];
  };
  for (const token of tokens) {
    const byte = byteOf(token);
    if (byte !== undefined) run.push(byte);
    else {
      end();
      made.push(token);
    }
  }
  end();
  return made;
}

/** A token is its characters' bytes, or, where one of them stands for none, the token's own UTF-8. */
function decodeByteLevel(tokens: string[], bytes: Record<string, string | undefined>): string {
  const all = tokens.flatMap((token) => {
    const own = [...token].map((character) => bytes[character]);
    return own.every((byte) => byte !== undefined) ? own.map(Number) : [...new TextEncoder().encode(token)];
  });
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(all));
}

/** Of a text cut at its added tokens: those that are to be whole words, and are not, go back into the text around them. */
function joinInsideWords(parts: string[], added: ReadonlyMap<string, { single_word: boolean }>): string[] {
  const before = new RegExp(`[${word}]$`, 'u');
  const after = new RegExp(`^[${word}]`, 'u');
  const text = parts.join('');
  const made: string[] = [];
  let open = false; // the last of `made` is plain text, which goes on
  let at = 0;
  for (const part of parts) {
    const token = added.get(part);
    const rest = text.slice(at + part.length);
    const inside = token?.single_word && (before.test(text.slice(0, at)) || after.test(rest));
    const plain = token === undefined || inside === true;
    if (plain && open) made[made.length - 1] += part;
    else made.push(part);
    open = plain;
    at += part.length;
  }
  return made;
}
