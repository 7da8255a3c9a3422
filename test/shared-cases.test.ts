/** Inputs that people met in public, where they lie beside the checkout; ours of each kind are in the rooms' own tests. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { readArchitecture, openWeights, readPromptTemplate, readTokenizer } from '../src/node/checkpoint.ts';
import { decodeImage } from '../src/node/decode.ts';
import { clipPreprocess } from '../src/image/preprocess.ts';
import { refusal } from './support/refusal.ts';

const root = path.join(import.meta.dirname, '..', '..', 'shared', 'cases');
const at = (...names: string[]) => path.join(root, ...names);
const absent = !existsSync(root);
if (absent) console.warn('skipping the shared cases: ../shared/cases is not beside the checkout');

describe.skipIf(absent)('of the shared cases', () => {
  test.each(['rawprofile_exif6.png', 'xmp6.jpg', 'xmp6.png', 'xmp_attr8.jpg'])(
    '%s is upright',
    async (file) => {
      expect(await decodeImage(at('orientation', file))).toMatchObject({ width: 23, height: 37 });
    },
  );

  // transformers 5.18: render_jinja_template with the tokens of tokenizer_config.json
  test.each([
    ['template-crlf/a', '<s>USER:<image>\nQ?\nASSISTANT:\n'],
    ['template-crlf/b', 'USER: <image>\nQ? ASSISTANT:'],
    ['template-tokens/a', 'USER: <image>\nQ? ASSISTANT:'],
    ['template-tokens/b', '<s><unk><pad>USER: <image>\nQ? ASSISTANT:'],
  ])('the prompt of %s', async (folder, prompt) => {
    expect((await readPromptTemplate(at(folder)))('Q?')).toBe(prompt);
  });

  test.each([
    ['jinja+json', 'chat_template.json', 'JSON'],
    ['jinja+proc', 'processor_config.json', 'PROC'],
  ])('the template of %s is that of %s', async (folder, file, prompt) => {
    const template = await readPromptTemplate(at('template-order', folder));
    expect(await refusal(Promise.resolve().then(() => template('Q?')))).toContain(
      `${file} makes a prompt without <image>: "${prompt}"`,
    );
  });

  // tokenizers 0.23.2
  test.each([
    ['single', 'thesepword', [263, 582, 447, 586, 289, 567]],
    ['meta_split', 'a  b   c', [264, 598, 278, 598, 598, 270]],
  ])('the ids of %s', async (folder, text, ids) => {
    const tokenizer = await readTokenizer(at('tokenizer-flags', folder), null);
    expect(tokenizer.encodePlain(text)).toEqual(ids);
  });

  test('a git-lfs pointer, the layout of LLaVA’s authors', async () => {
    expect(await refusal(openWeights(at('lfs-pointer')))).toContain(
      'is a git-lfs pointer, not the file itself',
    );
    expect(await refusal(readArchitecture(at('original-llava')))).toContain(
      "the layout of the LLaVA authors' own code",
    );
  });

  test.each(['tall', 'thin'])('%s is refused by what it would become, before it is decoded', async (name) => {
    expect(await refusal(decodeImage(at('aspect', `${name}.png`), clipPreprocess(336)))).toContain(
      'more than the limit of',
    );
  });

  test.each(['jpg-100-bytes-deleted', 'jpg-broken-1105', 'jpg-broken-196', 'jpg-broken-849'])(
    '%s is damaged',
    async (name) => {
      expect(await refusal(decodeImage(at('jpeg', `${name}.jpg`)))).toContain(
        'cannot be decoded, it is damaged or truncated',
      );
    },
  );
});
