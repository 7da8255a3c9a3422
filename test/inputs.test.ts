import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readArchitecture, type LlavaConfig } from '../src/checkpoint/architecture.ts';
import { UserError } from '../src/errors.ts';
import { readPicture, readQuestion } from '../src/inputs.ts';
import { startBackend } from '../src/tensor/backend.ts';
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
