import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { readTokenizer } from '../../src/node/checkpoint.ts';
import { makeFolder } from '../support/pictures.ts';
import {
  layoutNames,
  layouts,
  makeTokenizer,
  makeTokenizerFolder,
  readCases,
} from '../support/tokenizers.ts';

describe.each(layoutNames)('the tokenizer library, %s', (layout) => {
  test('encodes as Rust does', async () => {
    const tokenizer = await makeTokenizer(layout);
    const { encode } = await readCases(layout);
    expect(encode).toHaveLength(36);
    for (const { text, idsWithSpecial } of encode) {
      expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(idsWithSpecial);
    }
  });

  test('decodes as Rust does', async () => {
    const tokenizer = await makeTokenizer(layout);
    const { encode, decode } = await readCases(layout);
    for (const { idsWithSpecial, decoded } of encode) {
      expect(tokenizer.decode(idsWithSpecial)).toBe(decoded);
    }
    for (const { ids, decoded } of decode) expect(tokenizer.decode(ids), ids.join()).toBe(decoded);
  });
});

test('byte fallback keeps a byte order mark', async () => {
  const text = 'a\uFEFFb';
  for (const layout of ['spm-bpe', 'byte-bpe'] as const) {
    const tokenizer = await makeTokenizer(layout);
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  }
});

describe('readTokenizer', () => {
  test('decodes nothing to nothing', async () => {
    expect((await makeTokenizer('spm-bpe')).decode([])).toBe('');
  });

  /** spm-bpe whose post-processor adds no BOS token. */
  async function makeWithoutTemplate(config?: object): Promise<string> {
    const dir = await makeTokenizerFolder('spm-bpe', config);
    const file = path.join(dir, 'tokenizer.json');
    const json = JSON.parse(await readFile(file, 'utf8')) as object;
    await writeFile(file, JSON.stringify({ ...json, post_processor: null }));
    return dir;
  }

  test('puts the BOS token in front once, whoever does it', async () => {
    const { bos } = layouts['spm-bpe'];
    const [withTemplate, without] = [await makeTokenizerFolder('spm-bpe'), await makeWithoutTemplate()];
    for (const dir of [withTemplate, without]) {
      expect((await readTokenizer(dir, bos)).encode('a')).toEqual([bos, 264]);
      expect((await readTokenizer(dir, bos)).encode('')).toEqual([bos]);
    }
    expect((await readTokenizer(without, null)).encode('a')).toEqual([264]);
  });

  test('adds no BOS token where tokenizer_config.json forbids it', async () => {
    // Qwen2's published folders name a bos_token_id in config.json, and null here.
    for (const config of [{ add_bos_token: false }, { bos_token: null }]) {
      const dir = await makeWithoutTemplate(config);
      expect((await readTokenizer(dir, 1)).encode('a')).toEqual([264]);
    }
    const named = await makeWithoutTemplate({ bos_token: '<s>' });
    expect((await readTokenizer(named, 1)).encode('a')).toEqual([1, 264]);
  });

  test('refuses a folder without tokenizer.json', async () => {
    const dir = await makeFolder();
    await expect(readTokenizer(dir, 1)).rejects.toThrow(
      new UserError(`${dir} has no tokenizer.json, so it cannot be asked in words (vtc trace takes --ids)`),
    );
  });

  test.each([
    ['{', /tokenizer\.json is not JSON: /],
    ['[]', /tokenizer\.json should hold a JSON object$/],
    ['{}', /tokenizer\.json holds no tokenizer: its "model" is missing$/],
    ['{"model": {"type": "BPE"}}', /tokenizer\.json holds no tokenizer that can be read: /],
  ])('refuses %s', async (text, message) => {
    const dir = await makeFolder();
    await writeFile(path.join(dir, 'tokenizer.json'), text);
    const refused = readTokenizer(dir, 1);
    await expect(refused).rejects.toThrow(UserError);
    await expect(refused).rejects.toThrow(message);
  });

  /** spm-bpe with some parts replaced. */
  async function readWith(parts: object) {
    const dir = await makeTokenizerFolder('spm-bpe');
    const file = path.join(dir, 'tokenizer.json');
    const json = JSON.parse(await readFile(file, 'utf8')) as object;
    await writeFile(file, JSON.stringify({ ...json, ...parts }));
    return readTokenizer(dir, null);
  }
  const template = { type: 'TemplateProcessing', pair: [], special_tokens: {} };
  const split = { type: 'Split', pattern: { Regex: '(x+x+)+y' }, behavior: 'Isolated', invert: false };
  const doubled = { type: 'Replace', pattern: { String: 'x' }, content: 'xxxx' };

  test.each([
    ['a number for a list', { post_processor: { ...template, single: 5 } }],
    ['a text for an object', { post_processor: { ...template, single: ['x'] } }],
    ['a pattern that backtracks without end', { pre_tokenizer: split }],
    [
      'a text that grows without end',
      { normalizer: { type: 'Sequence', normalizers: Array.from({ length: 40 }, () => doubled) } },
    ],
  ])('%s, met only when a text is read, is one sentence', async (_, parts) => {
    const tokenizer = await readWith(parts);
    const encode = () => tokenizer.encode('x'.repeat(40));
    expect(encode).toThrow(UserError);
    expect(encode).toThrow(/tokenizer\.json cannot encode a text: /);
  });

  test('a decoder that cannot decode is one sentence', async () => {
    const replace = { type: 'Replace', pattern: { Regex: '(x+x+)+y' }, content: '' };
    const tokenizer = await readWith({
      decoder: { type: 'Sequence', decoders: [{ type: 'Fuse' }, replace] },
    });
    const xs = tokenizer.encodePlain('x'.repeat(40));
    expect(() => tokenizer.decode(xs)).toThrow(/tokenizer\.json cannot decode token ids: it does not end/);
  });
});
