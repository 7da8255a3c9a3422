import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { readTokenizer } from '../../src/node/checkpoint.ts';
import { golden } from '../support/golden.ts';
import { makeFolder } from '../support/pictures.ts';

/** Small tokenizers, a feature each, with what the Rust library makes of texts and ids: make_tokenizer_features.py. */
interface Feature {
  json: object;
  encode: { text: string; ids: number[]; special: number[] }[];
  decode: { ids: number[]; text: string }[];
}
const features = JSON.parse(readFileSync(golden('tokenizer', 'features.json'), 'utf8')) as Record<
  string,
  Feature
>;
delete features['made_with'];

async function readFeature({ json }: Feature) {
  const dir = await makeFolder();
  await writeFile(path.join(dir, 'tokenizer.json'), JSON.stringify(json));
  return readTokenizer(dir, null);
}

/** What is not computed as Rust does, and what its refusal names. */
const refused: Record<string, string> = {
  'continuing_subword_prefix': 'continuing_subword_prefix of BPE is not supported',
  'Metaspace first split True, normalized token':
    'prepend_scheme first of Metaspace beside normalized added tokens',
  'Metaspace first split False, normalized token':
    'prepend_scheme first of Metaspace beside normalized added tokens',
  'Nmt': 'Nmt',
  'WordLevel, Whitespace': 'the model WordLevel is not supported',
  'WordLevel, WhitespaceSplit': 'the model WordLevel is not supported',
  'WordLevel, BertPreTokenizer': 'the model WordLevel is not supported',
  'WordLevel, UnicodeScripts': 'the model WordLevel is not supported',
  'UnicodeScripts': 'UnicodeScripts',
  'CharDelimiterSplit': 'CharDelimiterSplit',
  'Unigram, byte fallback': 'byte_fallback of Unigram is not supported',
  'TemplateProcessing, others':
    'a special token of TemplateProcessing that stands for others, "E", is not supported',
  'two tokens, one when normalized': 'a second added token that is normalized to "seps" is not supported',
  'a token, another when normalized':
    'an added token that is normalized to another token, "sep", is not supported',
};

const served = Object.keys(features).filter((name) => !(name in refused));

test.each(served)('ids and texts are those of Rust: %s', async (name) => {
  const { encode, decode } = features[name];
  const tokenizer = await readFeature(features[name]);
  for (const { text, ids, special } of encode) {
    expect(tokenizer.encodePlain(text), JSON.stringify(text)).toEqual(ids);
    expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(special);
  }
  for (const { ids, text } of decode) expect(tokenizer.decode(ids), ids.join()).toBe(text);
});

test.each(Object.entries(refused))('refused by name: %s', async (name, feature) => {
  const reading = readFeature(features[name]);
  await expect(reading).rejects.toThrow(UserError);
  await expect(reading).rejects.toThrow(feature);
});
