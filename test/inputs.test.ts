import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readArchitecture, readTokenizer } from '../src/node/checkpoint.ts';
import type { LlavaConfig } from '../src/checkpoint/architecture.ts';
import { UserError } from '../src/errors.ts';
import { readPicture, readQuestion } from '../src/node/inputs.ts';
import { startBackend } from '../src/backend/start.ts';
import { golden } from './support/golden.ts';

let dir: string;
let config: LlavaConfig;

beforeAll(async () => {
  await startBackend('wasm');
  dir = await mkdtemp(path.join(tmpdir(), 'vtc-cls-inputs-'));
  await copyFile(golden('tokenizer', 'byte-bpe.json'), path.join(dir, 'tokenizer.json'));
  const text_config = { vocab_size: 563, bos_token_id: 560 }; // <|begin_of_text|>, which the tokenizer adds itself
  const json = { model_type: 'llava', image_token_index: 562, text_config };
  await writeFile(path.join(dir, 'config.json'), JSON.stringify(json));
  config = (await readArchitecture(dir)) as LlavaConfig;
});
afterAll(() => rm(dir, { recursive: true }));

const writeTemplate = (template: string): Promise<void> =>
  writeFile(path.join(dir, 'chat_template.jinja'), template);

describe('readQuestion', () => {
  test('puts one BOS token in front, whether the template writes it or the tokenizer', async () => {
    await writeTemplate('<image>{{ messages[0].content[1].text }}');
    const added = (await readQuestion(dir, config, 'hi')).prompt;
    await writeTemplate('<|begin_of_text|><image>{{ messages[0].content[1].text }}');
    const written = (await readQuestion(dir, config, 'hi')).prompt;
    expect(added.before).toEqual([560]);
    expect(written).toEqual(added);
  });

  test('a template that refuses is one sentence', async () => {
    await writeTemplate('{{ raise_exception("only text") }}');
    await expect(readQuestion(dir, config, 'hi')).rejects.toThrow(
      new UserError(
        `the chat template of ${path.join(dir, 'chat_template.jinja')} cannot be used: only text`,
      ),
    );
  });
});

describe('a prompt in the user\u2019s own words', () => {
  const prompt = 'see <image> hi';

  test('is taken as it stands', async () => {
    const { before, after } = (await readQuestion(dir, config, { prompt })).prompt;
    const tokenizer = await readTokenizer(dir, null);
    expect(before).toEqual([560, ...tokenizer.encodePlain('see ')]);
    expect(after).toEqual(tokenizer.encodePlain(' hi'));
  });

  test.each([
    [{ prompt, question: 'hi' }, '--prompt is the whole prompt: leave --question out'],
    [{ prompt, template: 'x' }, '--prompt is the whole prompt: leave --template out'],
    [{ prompt, clip: 'x' }, 'a method that reads the question needs --question, not --prompt'],
    [{ prompt: 'hi' }, '--prompt has no <image>, which says where the picture goes: "hi"'],
    [{}, 'something must be asked: give --question or --prompt'],
  ])('%j is refused', async (asked, message) => {
    await expect(readQuestion(dir, config, asked)).rejects.toThrow(new UserError(message));
  });

  test('a template of the user\u2019s is asked by', async () => {
    await writeTemplate('no picture');
    const template = path.join(dir, 'mine.jinja');
    await writeFile(template, '<image>{{ messages[0].content[1].text }}!');
    const { after } = (await readQuestion(dir, config, { question: 'hi', template })).prompt;
    expect(after).toEqual((await readTokenizer(dir, null)).encodePlain('hi!'));
  });
});

describe('an image token that stands only in another file', () => {
  test.each([
    ['added_tokens.json', { '<image>': 562 }],
    ['tokenizer_config.json', { added_tokens_decoder: { 562: { content: '<image>', special: true } } }],
  ])('%s', async (name, content) => {
    const file = path.join(dir, 'tokenizer.json');
    const json = JSON.parse(await readFile(golden('tokenizer', 'byte-bpe.json'), 'utf8')) as {
      added_tokens: { content: string }[];
    };
    await writeFile(path.join(dir, name), JSON.stringify(content));
    await writeFile(
      file,
      JSON.stringify({ ...json, added_tokens: json.added_tokens.filter((t) => t.content !== '<image>') }),
    );
    await writeTemplate('<image>{{ messages[0].content[1].text }}');
    try {
      expect((await readQuestion(dir, config, 'hi')).prompt.before).toEqual([560]);
    } finally {
      await rm(path.join(dir, name));
      await copyFile(golden('tokenizer', 'byte-bpe.json'), file);
    }
  });
});

describe('readPicture', () => {
  test('padding keeps the mean and deviation of the folder', async () => {
    const half = [0.5, 0.5, 0.5];
    const json = {
      image_processor_type: 'CLIPImageProcessor',
      size: { shortest_edge: 24 },
      crop_size: 24,
      image_mean: half,
      image_std: half,
    };
    await writeFile(path.join(dir, 'preprocessor_config.json'), JSON.stringify(json));
    const picture = await readPicture(
      path.join(import.meta.dirname, '../.github/heatmap.png'),
      dir,
      24,
      true,
    );
    picture.pixels.dispose();
    expect(picture.config).toMatchObject({ pad: true, normalize: { mean: half, std: half } });
    expect(Math.max(...picture.values)).toBeLessThanOrEqual(1);
  });
});
