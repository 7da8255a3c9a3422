/**
 * What evaluations and trainings leave and read back: cells, what [CLS] looks at, run.json, flags.json, metrics, checkpoints.
 * Values, types, lengths and keys are changed anywhere in the JSON, bytes in the text and in the tensors.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { planCells, type CellRecord } from '../../../src/eval/run/cell.ts';
import { costOf } from '../../../src/eval/run/costs.ts';
import { countOnObjects, rankPatches, topPatches } from '../../../src/eval/run/focus.ts';
import { findShards, mergeShards } from '../../../src/eval/shards/merge.ts';
import { readRequest } from '../../../src/eval/run/agenda.ts';
import { whole } from '../../../src/eval/shards/shard.ts';
import { openStore, type RunKey } from '../../../src/eval/shards/store.ts';
import type { Task } from '../../../src/eval/task/task.ts';
import { parseVariants } from '../../../src/eval/run/variant.ts';
import { isObject } from '../../../src/json.ts';
import { readJson } from '../../../src/node/files.ts';
import { pick, type Random } from '../../../src/random.ts';
import { startBackend } from '../../../src/backend/start.ts';
import { loadCheckpoint, saveCheckpoint } from '../../../src/train/checkpoint.ts';
import { openMetrics } from '../../../src/train/metrics.ts';
import { seededRandom } from '../../support/random.ts';
import { tinyLlava } from '../../support/tiny.ts';
import type { Fuzz } from '../fuzz.ts';

const values = [
  null,
  -1,
  0,
  1,
  0.5,
  1e300,
  true,
  '',
  'none',
  '__proto__',
  [],
  {},
  [null],
  [[1]],
  { layers: [] },
];

/** Changes one value, key or length somewhere in it. */
function damage(node: unknown, random: Random): unknown {
  const inner = Array.isArray(node) ? node.length > 0 : isObject(node) && Object.keys(node).length > 0;
  if (!inner || random() < 0.2) return pick(random, values);
  const copy = structuredClone(node) as Record<string, unknown>;
  const key = pick(random, Object.keys(copy));
  const kind = random();
  if (kind < 0.15) {
    if (Array.isArray(copy)) copy.splice(Number(key), 1);
    else delete copy[key];
  } else if (kind < 0.25) {
    if (Array.isArray(copy)) copy.push(copy[0]);
    else copy[pick(random, ['extra', 'constructor', ''])] = pick(random, values);
  } else copy[key] = damage(copy[key], random);
  return copy;
}

function damageBytes(bytes: Buffer, random: Random): Buffer {
  const copy = Buffer.from(bytes);
  if (random() < 0.3) return copy.subarray(0, random() * copy.length);
  for (let n = 0; n < 1 + 3 * random(); n++) copy[Math.floor(random() * copy.length)] = 256 * random();
  return copy;
}

export const stored: Fuzz = {
  async prepare(folder) {
    await startBackend('cpu');
    const { config } = tinyLlava(seededRandom(1));
    const picture = { width: 1, height: 1, data: new Uint8Array(3) };
    const pictures = [0, 1].map((i) => ({
      id: `${i}`,
      read: () => picture,
      objects: [[0, 0, 0.5, 0.5]] as const,
    }));
    const questions = [0, 1, 0].map((picture, i) => {
      return { id: `${i}`, picture, question: '?', answer: 'x', type: 't' };
    });
    const task: Task = { name: 'noise', scoring: 'exact', pictures, questions };
    const contents = { task, shard: whole, config };
    const rest = { images: '', model: 'm', clip: 'none', maxNewTokens: 3, pad: false, fill: 'none' };
    const key: RunKey = { task: 'noise', questions: 'q', ...rest, shard: '1/1' };
    const cells = planCells(parseVariants('vtc-cls'), [4], 16);
    const prompts = [
      { layers: Array.from({ length: config.text.num_hidden_layers }, () => 9), questions: 3 },
    ];
    const record: CellRecord = {
      ...{ variant: 'vtc-cls', budget: 4, pictures: 'own', answers: ['a', 'b', 'c'], prompts },
      ...{
        restricted: ['a', '', ''],
        kl: [0, 0.1, 2],
        kept: { questions: 3, counts: Array<number>(16).fill(1), sinks: 2 },
      },
      ...costOf(config.text, prompts),
      ...{ milliseconds: { see: 1, prefill: 2, decode: 3 }, seen: 2, seconds: 1 },
      ...{ commit: 'c', backend: 'b', machine: 'm' },
    };
    const focus = {
      ...{ patches: topPatches(config), pictures: 2, ...countOnObjects(config, pictures) },
      hits: Object.fromEntries(rankPatches(config).map(({ name }) => [name, 1])),
    };
    const flags = {
      ...{ model: 'm', task: 'exact', split: 'test', questions: 'q', suffix: '', pad: false },
      ...{ methods: 'none', seeds: 3, keep: '25%', newTokens: 3, fill: 'none' },
    };
    const good: Record<string, unknown> = {
      'cells/vtc-cls@4.json': record,
      'focus.json': focus,
      'uncut.json': { firsts: [1, 2, 3].map((token) => ({ tokens: [token, 0], logs: [-0.1, -3] })) },
      'run.json': key,
      'flags.json': flags,
    };
    const shard = path.join(folder, 'shard');
    await mkdir(path.join(shard, 'cells'), { recursive: true });
    const writeGood = async () => {
      for (const [name, value] of Object.entries(good))
        await writeFile(path.join(shard, name), JSON.stringify(value));
    };
    const merge = async () => {
      const open = () => openStore(path.join(folder, 'merged'), key, contents);
      readRequest((await readJson(path.join(shard, 'flags.json'))) ?? {}, 'flags.json');
      await mergeShards(await findShards([shard]), { task, cells, config, key }, open);
      await (await openStore(shard, key, contents)).loadUncut();
    };

    const [checkpoint, metrics] = ['checkpoint.safetensors', 'metrics.jsonl'].map((name) =>
      path.join(folder, name),
    );
    const [weights, mean, square] = [1, 2, 3].map((x) => tf.fill<tf.Rank.R1>([4], x));
    await saveCheckpoint(checkpoint, { step: 2, optimizer: { weights, mean, square } }, 'recipe');
    const saved = await readFile(checkpoint);
    const lines = [1, 2, 3].map((step) => ({ step, loss: 1, rate: 0.1, validation: { loss: 1 } }));
    const train = async () => {
      const state = await loadCheckpoint(checkpoint, 4, 'recipe', 5);
      tf.dispose(state?.optimizer);
      await openMetrics(metrics, state?.step ?? 0);
    };

    return async (random) => {
      const untouched = random() < 0.1;
      if (random() < 0.6) {
        await writeGood();
        const name = pick(random, Object.keys(good));
        const inBytes = random() < 0.2;
        const text = Buffer.from(
          JSON.stringify(inBytes || untouched ? good[name] : damage(good[name], random)),
        );
        await writeFile(path.join(shard, name), inBytes && !untouched ? damageBytes(text, random) : text);
        return { what: `${name}${inBytes ? ', bytes' : ''}`, run: merge };
      }
      const ofMetrics = random() < 0.5;
      await writeFile(checkpoint, ofMetrics || untouched ? saved : damageBytes(saved, random));
      const shown = ofMetrics && !untouched ? (damage(lines, random) as unknown) : lines;
      const text = Array.isArray(shown)
        ? shown.map((line) => `${JSON.stringify(line)}\n`).join('')
        : String(shown);
      await writeFile(metrics, text);
      return { what: ofMetrics ? 'metrics' : 'checkpoint', run: train };
    };
  },
};
