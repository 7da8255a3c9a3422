/** Checkpoints in other forms: what is converted gives Hugging Face's logits, and what is no tensor is refused by name. */
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { startBackend } from '../../src/backend/start.ts';
import { none } from '../../src/compress/none.ts';
import { UserError } from '../../src/errors.ts';
import { readPickle, tensorsOf } from '../../src/io/pickle.ts';
import { loadModel } from '../../src/node/checkpoint.ts';
import { convertCheckpoint, type ConvertOptions } from '../../src/node/convert.ts';
import { prepareAnswer } from '../../src/plan.ts';
import { answer } from '../../src/story.ts';
import { scope } from '../../src/tensor/scope.ts';
import { createTrace } from '../../src/tensor/trace.ts';
import { cutAtImage } from '../../src/text/prompt.ts';
import { golden, readExpected, readRelativeError } from '../support/golden.ts';
import { makeFolder } from '../support/pictures.ts';

const from = (name: string) => path.join(golden('convert'), name);
const V = 120;

beforeAll(async () => {
  await startBackend('wasm');
});

/** Asks a converted folder as Hugging Face was asked. */
async function expectParity(dir: string): Promise<void> {
  using own = scope();
  const expected = await readExpected(path.join(golden('convert'), 'expected.safetensors'));
  const { llava } = own(await loadModel(dir));
  const pixels = own(tf.transpose(own(await expected.float('pixel_values')), [0, 2, 3, 1])) as tf.Tensor4D;
  const prompts = (await expected.ints('input_ids')).map((row) => cutAtImage(row, V, 9));
  const options = { maxNewTokens: 12 };
  const plan = prepareAnswer(llava!.config, { method: none, methodOptions: {}, budget: 9 }, prompts, options);
  const trace = own(createTrace((name) => name === 'decoder.logits'));
  const { tokens } = await answer(llava!, pixels, prompts, plan, { ...options, trace });
  const logits = trace.tensors.get('decoder.logits')!;
  const words = own(tf.slice(logits, [0, 0, 0], [...logits.shape.slice(0, 2), V]));
  expect(await readRelativeError(words, own(await expected.float('logits')))).toBeLessThan(1e-5);
  expect(tokens).toEqual(await expected.ints('tokens'));
  await expected.close();
}

describe('converted', () => {
  test.each([
    ['pickled', {}],
    ['authors', { clip: from('clip') }],
  ] as [string, ConvertOptions][])('%s agrees with Hugging Face', async (name, options) => {
    const to = path.join(await makeFolder(), 'model');
    const seen: number[] = [];
    const { bytes, lacks } = await convertCheckpoint(from(name), to, {
      ...options,
      onProgress: (done, total) => seen.push(done / total),
    });
    expect(seen.at(-1)).toBe(1);
    expect(bytes).toBeGreaterThan(50_000);
    expect(lacks).toContain('--tokenizer');
    await expectParity(to);
  });

  test('a tokenizer gains the words that a picture needs', async () => {
    const dir = await makeFolder();
    const [source, to] = [path.join(dir, 'source'), path.join(dir, 'model')];
    await cp(from('authors'), source, { recursive: true });
    await writeFile(
      path.join(source, 'tokenizer.json'),
      JSON.stringify({ added_tokens: [{ id: 0, content: '<unk>' }] }),
    );
    const { lacks } = await convertCheckpoint(source, to, { clip: from('clip') });
    expect(lacks).toBeUndefined();
    const { added_tokens: added } = JSON.parse(await readFile(path.join(to, 'tokenizer.json'), 'utf8')) as {
      added_tokens: { id: number; content: string }[];
    };
    expect(added.map(({ id, content }) => [id, content])).toEqual([
      [0, '<unk>'],
      [V, '<image>'],
      [V + 1, '<pad>'],
    ]);
  });

  test('what cannot be is one sentence, and nothing is left behind', async () => {
    const dir = await makeFolder();
    const to = path.join(dir, 'model');
    const refused = async (source: string, options: ConvertOptions = {}) => {
      const error: unknown = await convertCheckpoint(source, to, options).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(UserError);
      expect((error as Error).message).not.toContain('\n');
      return (error as Error).message;
    };
    expect(await refused(from('authors'))).toContain(
      'its vision tower is "openai/clip-vit-large-patch14-336": --clip names that CLIP\'s folder',
    );
    expect(await refused(from('authors'), { clip: dir })).toContain('has no config.json');
    expect(await refused(dir)).toContain('has no config.json');
    expect(await refused(from('authors'), { clip: from('clip'), tokenizer: from('clip') })).toContain(
      'has no tokenizer.json',
    );

    const source = path.join(dir, 'source');
    await cp(from('authors'), source, { recursive: true });
    const shard = path.join(source, 'pytorch_model-00002-of-00002.bin');
    const bytes = await readFile(shard);
    await writeFile(shard, bytes.subarray(0, bytes.length - 500));
    expect(await refused(source, { clip: from('clip') })).toContain(
      'is no zip file that torch.save wrote: it has no directory',
    );
    const config = JSON.parse(await readFile(path.join(source, 'config.json'), 'utf8')) as object;
    for (const [changed, message] of [
      [{ image_aspect_ratio: 'anyres' }, "is LLaVA-NeXT's, which is not converted"],
      [{ mm_projector_type: 'qformer' }, 'mm_projector_type "qformer" is not converted'],
      [{ model_type: 'llava_mpt' }, 'a decoder of type llava_mpt is not converted'],
    ] as const) {
      await cp(from('authors'), source, { recursive: true });
      await writeFile(path.join(source, 'config.json'), JSON.stringify({ ...config, ...changed }));
      expect(await refused(source, { clip: from('clip') })).toContain(message);
    }
    expect((await readdir(dir)).sort()).toEqual(['source']);

    await mkdir(to);
    await writeFile(path.join(to, 'mine.txt'), 'mine');
    expect(await refused(from('pickled'))).toContain('is there already');
    expect(await readdir(to)).toEqual(['mine.txt']);
  });
});

describe('a pickle', () => {
  const pickle = (...parts: (string | number[])[]) =>
    Uint8Array.from(parts.flatMap((part) => (typeof part === 'string' ? [...Buffer.from(part)] : part)));
  const read = (...parts: (string | number[])[]) => readPickle(pickle(...parts), 'FILE');

  test('that asks for a program is refused by its name', () => {
    expect(() => read([0x80, 2], 'cos\nsystem\n', [0x58, 2, 0, 0, 0], 'ls', [0x85, 0x52, 0x2e])).toThrow(
      new UserError('FILE: its pickle asks for os.system, which makes no tensor: it is not run'),
    );
    expect(() => read([0x80, 4, 0x8c, 8], 'builtins', [0x8c, 4], 'eval', [0x93, 0x29, 0x52, 0x2e])).toThrow(
      'asks for builtins.eval, which makes no tensor',
    );
    expect(() => read([0x80, 2], 'ctorch\nFloatStorage\n', [0x29, 0x81, 0x2e])).toThrow(
      'has the opcode 0x81',
    );
  });

  test('that is damaged is refused', () => {
    expect(() => read([0x80, 2])).toThrow('is cut short');
    expect(() => read([0x80, 2, 0x85, 0x2e])).toThrow('takes more than it has');
    expect(() => read([0x80, 2, 0x4e, 0x75, 0x2e])).toThrow('takes more than it has');
    expect(() => read([0x80, 2, 0x68, 9, 0x2e])).toThrow('recalls what it has not kept');
    expect(() => tensorsOf(read([0x80, 2, 0x7d, 0x2e]), 'FILE')).toThrow('FILE holds no state dict');
  });
});
