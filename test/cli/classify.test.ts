import { cp, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { loadModel } from '../../src/node/checkpoint.ts';
import { createRandom } from '../../src/random.ts';
import { encodePng } from '../../src/node/decode.ts';
import { readPicture } from '../../src/node/inputs.ts';
import { startBackend } from '../../src/backend/start.ts';
import { contrast, embedPictures, embedTexts } from '../../src/vision/contrastive.ts';
import { drawScene } from '../support/simple-scene.ts';
import { expectRefusal, expectUsageError, makeFileFolder, vtc, vtcOk } from '../support/cli.ts';
import { golden } from '../support/golden.ts';

const folder = await makeFileFolder();
const scene = path.join(folder, 'scene.png');
await encodePng(await drawScene(createRandom(8), 96), scene);

/** clip-model's random towers with words for its ids: what `<start>` and `<end>` are, its config says. */
const words = ['<unk>', 'a', 'red', 'blue', 'circle', 'square'];
const vocabulary = Array.from(
  { length: 60 },
  (_, id) => words[id] ?? { 40: '<end>', 41: '<start>' }[id] ?? `w${id}`,
);
const ids = { 'a red circle': [41, 1, 2, 4, 40], 'a blue square': [41, 1, 3, 5, 40], 'red': [41, 2, 40] };

async function makeClip(name: string, post_processor: object | null, tokens = vocabulary): Promise<string> {
  const dir = path.join(folder, name);
  await mkdir(dir);
  for (const file of ['config.json', 'model.safetensors'])
    await cp(golden('clip-model', file), path.join(dir, file));
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const tokenizer = {
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'WhitespaceSplit' },
    post_processor,
    decoder: null,
    model: { type: 'WordPiece', unk_token: '<unk>', continuing_subword_prefix: '##', vocab },
  };
  await writeFile(path.join(dir, 'tokenizer.json'), JSON.stringify(tokenizer));
  return dir;
}

const token = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
const special = (id: string) => ({ id, ids: [vocabulary.indexOf(id)], tokens: [id] });
const single = [token('<start>'), { Sequence: { id: 'A', type_id: 0 } }, token('<end>')];
const template = {
  type: 'TemplateProcessing',
  single,
  pair: single,
  special_tokens: { '<start>': special('<start>'), '<end>': special('<end>') },
};
const model = await makeClip('clip', template);
const wordless = path.join(folder, 'wordless');
await cp(model, wordless, { recursive: true, filter: (file) => !file.endsWith('tokenizer.json') });
const endless = await makeClip('endless', null);
const larger = await makeClip('larger', template, [...vocabulary, 'green']);

const classify = (...rest: string[]) => ['classify', '--image', scene, '--model', model, ...rest];
const labels = ['--labels', ' a red circle,red , a blue square'];

describe.concurrent('classify', () => {
  test('prints the labels, the likeliest first; --json says the same and more', async () => {
    const [text, json] = await Promise.all([
      vtcOk(...classify(...labels)),
      vtcOk(...classify(...labels, '--json')),
    ]);
    const result = JSON.parse(json) as { labels: { label: string; probability: number; logit: number }[] };
    expect(result).toMatchObject({ image: scene, model });

    const { name } = await startBackend('wasm');
    expect(name).toBe('wasm');
    const loaded = await loadModel(model);
    const { pixels } = await readPicture(scene, model, 24);
    const logits = [
      ...contrast(
        loaded.clip!,
        embedPictures(loaded.clip!, pixels),
        embedTexts(loaded.clip!, Object.values(ids)),
      ).dataSync(),
    ];
    tf.dispose(pixels);
    loaded.dispose();
    const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
    const expected = Object.keys(ids)
      .map((label, i) => ({ label, logit: logits[i], probability: Math.exp(logits[i]) / total }))
      .sort((a, b) => b.logit - a.logit);
    expect(result.labels.map(({ label }) => label)).toEqual(expected.map(({ label }) => label));
    for (const [i, { probability, logit }] of expected.entries()) {
      expect(result.labels[i].logit).toBeCloseTo(logit, 4);
      expect(result.labels[i].probability).toBeCloseTo(probability, 4);
    }
    const lines = expected.map(
      ({ label, probability }) => ` ${(100 * probability).toFixed(1)} %  ${label}\n`,
    );
    expect(text).toBe(lines.join(''));
  });

  const long = 'a a a a a a a a';
  test.each([
    ['red', '--labels "red": one label alone is always 100 % likely; give two or more'],
    ['red,, blue', '--labels "red,, blue": there is an empty label'],
    [`red, ${long}`, `label "${long}" takes 10 tokens; the text tower reads at most 9`],
  ])('refuses labels "%s"', async (text, message) => {
    expectRefusal(await vtc(...classify('--labels', text)), message);
  });

  test('refuses to do without labels', async () => {
    expectUsageError(await vtc(...classify()), /--labels/);
  });

  const [llama, tower] = [golden('llama-bias'), golden('clip-vision')];
  test.each<[string, string | RegExp]>([
    [llama, `${llama} is a llama checkpoint; a CLIP is needed here`],
    [tower, `${tower} is CLIP's vision tower alone: it knows no words`],
    [wordless, /^.*wordless has no tokenizer\.json/],
    [endless, 'the text of tokens 2 has no end-of-text token (40)'],
    [larger, 'label "green": 60 is not a token id (0 .. 59)'],
  ])('refuses %s', async (dir, message) => {
    expectRefusal(await vtc(...classify('--model', dir, '--labels', 'red, green')), message);
  });
});
