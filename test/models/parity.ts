/**
 * How near each golden checkpoint comes to Hugging Face's numbers. The tests of this folder bound these numbers;
 * run by itself, this file prints them as a table:
 *
 *     npx tsx test/models/parity.ts [backend]
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { loadModel, readTokenizer } from '../../src/node/checkpoint.ts';
import type { Llava } from '../../src/checkpoint/load.ts';
import { ensembleNames } from '../../src/compress/ensemble.ts';
import type { MethodOptions } from '../../src/compress/method.ts';
import { findMethod } from '../../src/compress/registry.ts';
import { generate } from '../../src/decoder/generate.ts';
import type { Llama } from '../../src/decoder/llama.ts';
import { embedText } from '../../src/decoder/splice.ts';
import { startBackend } from '../../src/backend/start.ts';
import { createTrace, type RecordedTrace } from '../../src/tensor/trace.ts';
import { cutAtImage } from '../../src/text/prompt.ts';
import { runClipVision, type ClipVision } from '../../src/vision/clip.ts';
import { contrast, embedPictures, embedTexts, type Clip } from '../../src/vision/contrastive.ts';
import { runClipText } from '../../src/vision/text.ts';
import { visualTokenCount } from '../../src/checkpoint/architecture.ts';
import type { Answer } from '../../src/story.ts';
import {
  fixture,
  golden,
  hasFixtures,
  readExpected,
  readRelativeError,
  type Expected,
} from '../support/golden.ts';
import { runVlm, type RunOptions } from '../support/methods.ts';

/** One expected tensor and how the program's own compares with it. */
export interface Comparison {
  name: string;
  /** Largest difference relative to the largest expected magnitude, of real numbers. */
  error?: number;
  /** Of ids and indices. */
  equal?: boolean;
}

export interface Parity {
  comparisons: Comparison[];
  /** Expected tensors that were neither an input nor compared: there should be none. */
  unread: string[];
}

/** The checkpoints that come with the project, and the shared ones that may lie beside it. */
export const ownModels = [
  'llava-v5keys',
  'llava-full-llama3',
  'llava-layers',
  'llava-mistral',
  'llava-qwen2',
  'llava-siglip',
  'llava-siglip-head',
  'vip-llava',
  'clip-model',
  'clip-legacy',
  'clip-vision',
  'llama-bias',
  'llama-rope3',
  'qwen2',
];
export const sharedModels = ['llava-basic', 'llava-sharded-bf16'];

const inputs = ['pixel_values', 'input_ids'];

/** Runs a golden folder every way that its `expected.safetensors` has numbers for. */
export async function compareModel(dir: string): Promise<Parity> {
  const expected = await readExpected(path.join(dir, 'expected.safetensors'));
  const model = await loadModel(dir);
  const comparisons: Comparison[] = [];
  try {
    if (model.llava) await compareLlava(model.llava, expected, comparisons);
    else if (model.decoder) await compareLlama(model.decoder, expected, comparisons);
    else if (model.vision) await compareVision(model.vision, expected, comparisons);
    if (model.clip) await compareClip(model.clip, expected, comparisons);
  } finally {
    model.dispose();
    await expected.close();
  }
  const read = new Set([...inputs, ...comparisons.map(({ name }) => name)]);
  return { comparisons, unread: expected.names.filter((name) => !read.has(name)) };
}

async function compareVision(vision: ClipVision, expected: Expected, to: Comparison[]): Promise<void> {
  const pixels = await readPixels(expected);
  const trace = createTrace();
  runClipVision(vision, pixels, {}, trace);
  await compareTrace(trace, expected, to);
  pixels.dispose();
}

/** The text tower at every depth, and the two towers' meeting. */
async function compareClip(clip: Clip, expected: Expected, to: Comparison[]): Promise<void> {
  const pixels = await readPixels(expected);
  const ids = await expected.ints('input_ids');
  const states: tf.Tensor[] = [];
  const text = runClipText(clip.text, ids, (hidden) => states.push(tf.keep(hidden.clone())));
  const pictures = embedPictures(clip, pixels);
  const texts = embedTexts(clip, ids);
  const logits = contrast(clip, pictures, texts);
  const tensors = {
    'text.output': text.hidden,
    'text.pooled': text.pooled,
    'contrast.pictures': pictures,
    'contrast.texts': texts,
    'contrast.logits': logits,
    ...Object.fromEntries(states.map((state, i) => [`text.hidden.${String(i).padStart(2, '0')}`, state])),
  };
  for (const [name, tensor] of Object.entries(tensors)) to.push(await compareTensor(expected, name, tensor));
  tf.dispose([pixels, tensors]);
}

async function compareLlama(decoder: Llama, expected: Expected, to: Comparison[]): Promise<void> {
  const prompt = embedText(decoder, await expected.ints('input_ids'));
  const trace = createTrace();
  const tokens = await generate(decoder, prompt, { maxNewTokens: 12, trace });
  await compareTrace(trace, expected, to);
  to.push(await compareIds(expected, 'full.tokens', tokens));
  tf.dispose([prompt.hidden, prompt.positions]);
}

async function compareLlava(llava: Llava, expected: Expected, to: Comparison[]): Promise<void> {
  const pixels = await readPixels(expected);
  const ids = await expected.ints('input_ids');
  const P = visualTokenCount(llava.config);
  const prompts = ids.map((row) => cutAtImage(row, llava.config.image_token_index, P));
  const run = (trace: RecordedTrace, method: string, options: Partial<RunOptions>): Promise<Answer> =>
    runVlm(
      llava,
      { pixels, prompts },
      {
        method: findMethod(method),
        methodOptions: {},
        budget: 1,
        positions: 'contiguous',
        maxNewTokens: 12,
        trace,
        ...options,
      },
    );

  const trace = createTrace();
  const answer = await run(trace, 'none', {});
  await compareTrace(trace, expected, to);
  to.push(await compareIds(expected, 'full.tokens', answer.tokens));

  // vtc-cls.kK.uU.{scores,kept} and, with or without the word contiguous or original between, {logits,tokens}; of a tower
  // without [CLS] uniform.uU, which has no scores
  for (const name of expected.names) {
    const [, base, K, U, how] =
      /^((?:vtc-cls\.k(\d+)|uniform)\.u(\d+))(\.|\.contiguous\.|\.original\.)logits$/.exec(name) ?? [];
    if (base === undefined) continue;
    const trace = createTrace();
    const [method, methodOptions]: [string, MethodOptions] = K
      ? ['vtc-cls', { layers: Number(K), ensemble: 'sum' }]
      : ['uniform', { pattern: 'raster' }];
    const positions = how === '.original.' ? 'original' : 'contiguous';
    const answer = await run(trace, method, { methodOptions, budget: Number(U), positions });
    const scores = trace.tensors.get('compress.scores');
    if (scores) to.push(await compareTensor(expected, `${base}.scores`, scores));
    to.push(
      await compareIds(expected, `${base}.kept`, answer.kept!),
      await compareTensor(expected, `${base}${how}logits`, trace.tensors.get('decoder.logits')!),
      await compareIds(expected, `${base}${how}tokens`, answer.tokens),
    );
    trace.dispose();
  }

  for (const name of expected.names.filter((candidate) => candidate.startsWith('ensemble.'))) {
    const [, K, how] = /^ensemble\.k(\d+)\.(.+)$/.exec(name)!;
    const ensemble = ensembleNames.find((candidate) => candidate === how)!;
    const trace = createTrace();
    await run(trace, 'vtc-cls', { methodOptions: { layers: Number(K), ensemble }, maxNewTokens: 1 });
    to.push(await compareTensor(expected, name, trace.tensors.get('compress.scores')!));
    trace.dispose();
  }
  pixels.dispose();
}

/** stories260K, a trained LLaMA: the logits of one text, and three texts written to the letter. */
export async function compareStories(dir: string): Promise<Parity> {
  const expected = await readExpected(path.join(dir, 'expected.safetensors'));
  const stories = JSON.parse(await readFile(path.join(dir, 'generations.json'), 'utf8')) as {
    prompt: string;
    prompt_ids: number[];
    ids: number[];
    text: string;
  }[];
  const model = await loadModel(dir);
  const decoder = model.decoder!;
  const tokenizer = await readTokenizer(dir, decoder.config.bos_token_id);
  const comparisons: Comparison[] = [];

  const trace = createTrace((name) => name === 'decoder.logits');
  const text = embedText(decoder, await expected.ints('input_ids'));
  await generate(decoder, text, { maxNewTokens: 1, trace });
  const logits = trace.tensors.get('decoder.logits')!;
  const [, T, V] = logits.shape;
  const rows = tf.reshape(logits, [T, V]);
  comparisons.push(await compareTensor(expected, 'logits', rows));
  tf.dispose([text.hidden, text.positions, rows]);
  trace.dispose();

  for (const [i, story] of stories.entries()) {
    const ids = tokenizer.encode(story.prompt);
    const prompt = embedText(decoder, [ids]);
    const maxNewTokens = story.ids.length - story.prompt_ids.length;
    const [written] = await generate(decoder, prompt, { maxNewTokens });
    tf.dispose([prompt.hidden, prompt.positions]);
    comparisons.push(
      { name: `story.${i}.prompt_ids`, equal: same(ids, story.prompt_ids) },
      { name: `story.${i}.ids`, equal: same([...ids, ...written], story.ids) },
      { name: `story.${i}.text`, equal: tokenizer.decode([...ids, ...written]) === story.text },
    );
  }
  model.dispose();
  await expected.close();
  return { comparisons, unread: expected.names.filter((name) => name !== 'logits' && name !== 'input_ids') };
}

/** Compares what a trace holds under the names that the golden file has too, and disposes it. */
async function compareTrace(trace: RecordedTrace, expected: Expected, to: Comparison[]): Promise<void> {
  for (const [name, tensor] of trace.tensors) {
    if (expected.has(name)) to.push(await compareTensor(expected, name, tensor));
  }
  trace.dispose();
}

async function compareTensor(expected: Expected, name: string, actual: tf.Tensor): Promise<Comparison> {
  const wanted = await expected.float(name);
  const error = await readRelativeError(actual, wanted);
  wanted.dispose();
  return { name, error };
}

async function compareIds(expected: Expected, name: string, actual: number[][]): Promise<Comparison> {
  return { name, equal: same(actual, await expected.ints(name)) };
}

/** `pixel_values` [B, 3, S, S] → [B, S, S, 3] */
async function readPixels(expected: Expected): Promise<tf.Tensor4D> {
  const channelsFirst = await expected.float('pixel_values');
  const pixels = tf.transpose(channelsFirst, [0, 2, 3, 1]) as tf.Tensor4D;
  channelsFirst.dispose();
  return pixels;
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** A line of the table: one checkpoint's tensors of one room. */
export interface ParityRow {
  checkpoint: string;
  group: string;
  tensors: number;
  worst?: number;
  equal?: boolean;
}

/** The comparisons of each checkpoint that is there, by room. */
export async function measureParity(): Promise<ParityRow[]> {
  const folders = [
    ...sharedModels.filter(() => hasFixtures).map((name) => fixture(name)),
    ...ownModels.map((name) => golden(name)),
  ];
  const rows: ParityRow[] = [];
  for (const dir of folders) rows.push(...groupByRoom(path.basename(dir), await compareModel(dir)));
  const stories = fixture('stories260k');
  if (existsSync(stories)) rows.push(...groupByRoom('stories260k', await compareStories(stories)));
  return rows;
}

function groupByRoom(checkpoint: string, { comparisons }: Parity): ParityRow[] {
  const roomOf = ({ name }: Comparison) => /^[\w-]+/.exec(name)![0].replace('full', 'decoder'); // full.tokens
  return [...new Set(comparisons.map(roomOf))].map((group) => {
    const members = comparisons.filter((comparison) => roomOf(comparison) === group);
    const errors = members.flatMap(({ error }) => error ?? []);
    const equals = members.flatMap(({ equal }) => equal ?? []);
    return {
      checkpoint,
      group,
      tensors: new Set(members.map(({ name }) => name)).size,
      worst: errors.length > 0 ? Math.max(...errors) : undefined,
      equal: equals.length > 0 ? !equals.includes(false) : undefined,
    };
  });
}

/** The rows as a Markdown table. */
export function formatParity(rows: ParityRow[]): string {
  const number = (x?: number) => x?.toExponential(1) ?? '';
  const verdict = (x?: boolean) => (x === undefined ? '' : x ? 'yes' : 'NO');
  return [
    '| checkpoint | tensor group | tensors | largest error, of the largest value | indices and tokens equal |',
    '| --- | --- | --: | --: | --- |',
    ...rows.map(
      ({ checkpoint, group, tensors, worst, equal }) =>
        `| ${checkpoint} | ${group} | ${tensors} | ${number(worst)} | ${verdict(equal)} |`,
    ),
  ].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { name, device } = await startBackend(process.argv[2] ?? 'auto');
  console.log(`${name}, ${device}\n\n${formatParity(await measureParity())}`);
}
