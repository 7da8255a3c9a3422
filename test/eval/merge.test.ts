/** Shards of an evaluation on a tiny model made in memory, joined. */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { planCells, type CellRecord } from '../../src/eval/run/cell.ts';
import { evaluate } from '../../src/eval/run/evaluate.ts';
import { findShards, mergeShards } from '../../src/eval/shards/merge.ts';
import { readRequest } from '../../src/eval/run/agenda.ts';
import { nameShard, whole, type Shard } from '../../src/eval/shards/shard.ts';
import { openStore, writeJson } from '../../src/eval/shards/store.ts';
import type { Task } from '../../src/eval/task/task.ts';
import { parseVariants } from '../../src/eval/run/variant.ts';
import { startBackend } from '../../src/backend/start.ts';
import { seededRandom } from '../support/random.ts';
import { tinyLlava } from '../support/tiny.ts';

const folder = await mkdtemp(path.join(tmpdir(), 'vtc-cls-merge-'));
afterAll(() => rm(folder, { recursive: true, force: true }));
await startBackend('wasm');

const random = seededRandom(12);
const pictures = Array.from({ length: 6 }, (_, i) => {
  const data = Uint8Array.from({ length: 9 * 9 * 3 }, () => 256 * random());
  return { id: `p${i}`, read: () => ({ width: 9, height: 9, data }), objects: [[0, 0, 0.5, 0.5]] as const };
});
const questions = Array.from({ length: 14 }, (_, i) => {
  return { id: `q${i}`, picture: (5 * i) % 6, question: `${i}`, answer: 'x', type: 't' }; // pictures in no order
});
const task: Task = { name: 'noise', scoring: 'exact', pictures, questions };
const prompts = questions.map((_, i) => ({ before: [1], after: [3 + (i % 7), ...(i % 2 ? [4] : [])] }));
const model = tinyLlava(random);
const preprocessing = { resize: null, crop: null, rescale: 1 / 64, normalize: null, pad: false };
const tokenizer = { decode: (ids: readonly number[]) => ids.join('-'), encodePlain: () => [] };
const exam = { model, stopTokens: [2], tokenizer, task, prompts, maxNewTokens: 3, preprocessing };
const cells = planCells(parseVariants('none,vtc-cls'), [4], 16);
const key = {
  task: 'noise',
  questions: 'q',
  images: '',
  model: 'm',
  clip: 'none',
  maxNewTokens: 3,
  pad: false,
  fill: 'none',
  shard: nameShard(whole),
};

const storeOf = async (name: string, shard: Shard) => {
  const store = await openStore(
    path.join(folder, name),
    { ...key, shard: nameShard(shard) },
    { task, shard, config: model.config },
  );
  await writeJson(path.join(folder, name, 'flags.json'), { methods: 'none,vtc-cls' });
  return store;
};

async function work(name: string, shard: Shard, only = cells) {
  const store = await storeOf(name, shard);
  await evaluate(
    { ...exam, shard },
    {
      cells: only,
      onCell: (cell, record) => store.save(cell, { ...record, commit: 'c', backend: 'wasm', machine: 'm' }),
      onFocus: (focus) => store.saveFocus(focus),
      uncut: await store.loadUncut(),
      onUncut: (firsts) => store.saveUncut(firsts),
    },
  );
  return store;
}

const timeless = (record: CellRecord | undefined) => ({ ...record, milliseconds: 0, seconds: 0 });

test('four shards joined are one undisturbed run: answers, costs, focus; unfinished ones are refused', async () => {
  const one = await work('one', whole);
  const shards = [1, 2, 3, 4].map((number) => ({ number, count: 4 }));
  const names = shards.map(({ number }) => `shard-${number}`);
  for (const [i, shard] of shards.entries()) await work(names[i], shard, i === 2 ? cells.slice(0, 2) : cells);
  const folders = [2, 0, 3, 1].map((i) => path.join(folder, names[i]));
  const all = { task, cells, config: model.config, key };
  const merge = async () => mergeShards(await findShards(folders), all, () => storeOf('merged', whole));
  await expect(merge()).rejects.toThrow(
    `--merge ${folders[0]}: shard 3/4 is not finished; start it once more`,
  );
  await work(names[2], shards[2], cells.slice(2));
  expect(existsSync(path.join(folder, 'merged'))).toBe(false);
  const merged = await merge();
  for (const cell of cells) {
    const expected = await one.load(cell);
    expect(expected!.answers).toHaveLength(14);
    expect(timeless(await merged.load(cell))).toEqual(timeless(expected));
  }
  expect(await merged.loadFocus()).toEqual(await one.loadFocus());
  await expect(findShards(folders.slice(1))).rejects.toThrow(
    '--merge: shard 1/3 is missing; the folders hold',
  );
  await expect(findShards([path.join(folder, 'none')])).rejects.toThrow('no evaluation was begun there');
});

test('times of shards add up, each commit and backend is named once, and the focus needs every shard', async () => {
  const [cell] = cells;
  const shards = [1, 2, 3].map((number) => ({ number, count: 3 }));
  const folders = shards.map(({ number }) => path.join(folder, `part-${number}`));
  for (const [i, shard] of shards.entries()) {
    const store = await work(`part-${shard.number}`, shard, [cell]);
    await store.save(cell, {
      ...(await store.load(cell))!,
      seen: 2,
      milliseconds: { see: 1 + i, prefill: 10 + i, decode: 100 + i },
      seconds: 5 + i,
      commit: ['c', 'c', 'd'][i],
      backend: ['wasm', 'tensorflow', 'wasm'][i],
      machine: ['one', 'one', 'two'][i],
    });
  }
  await rm(path.join(folders[1], 'focus.json'));
  const merged = await mergeShards(
    await findShards(folders),
    { task, cells: [cell], config: model.config, key },
    () => storeOf('merged-parts', whole),
  );
  expect(await merged.load(cell)).toMatchObject({
    milliseconds: { see: 6, prefill: 33, decode: 303 },
    seen: 6,
    seconds: 18,
    commit: 'c, d',
    backend: 'wasm, tensorflow',
    machine: 'one + two',
  });
  expect(await merged.loadFocus()).toBeUndefined();
});

test('shards that were asked for different things do not join', async () => {
  const names = ['other-1', 'other-2'].map((name) => path.join(folder, name));
  for (const [i, name] of names.entries()) {
    const shard = { number: i + 1, count: 2 };
    await openStore(name, { ...key, shard: nameShard(shard) }, { task, shard, config: model.config });
    await writeJson(path.join(name, 'flags.json'), { keep: i === 0 ? '50%' : '25%' });
  }
  await expect(findShards(names)).rejects.toThrow(
    `--merge: keep was "50%" in ${names[0]} but "25%" in ${names[1]}`,
  );
  await writeJson(path.join(names[0], 'flags.json'), {});
  await expect(findShards(names)).rejects.toThrow(
    `--merge: keep was not given in ${names[0]} but "25%" in ${names[1]}`,
  );
});

type Change = (record: Record<string, unknown>) => void;
const changes: [string, Change, string][] = [
  ['variant', (r) => (r['variant'] = 'none'), 'is of variant "none", not "vtc-cls"'],
  ['budget', (r) => (r['budget'] = 3), 'is of budget 3, not 4'],
  ['pictures', (r) => (r['pictures'] = 'grey'), 'is of pictures "grey", not "own"'],
  ['one answer short', (r) => (r['answers'] as string[]).pop(), 'holds 6 answers, not 7'],
  ['one too many', (r) => (r['answers'] as string[]).push(''), 'holds 8 answers, not 7'],
  ['an answer', (r) => ((r['answers'] as unknown[])[0] = null), 'has answers that are not texts'],
  ['no answers', (r) => delete r['answers'], 'has answers that are not texts'],
  ['one choice short', (r) => (r['restricted'] as string[]).pop(), 'holds 6 restricted, not 7'],
  ['kl', (r) => (r['kl'] = [-1]), 'should hold 7 numbers from 0 on as kl'],
  ['kept', (r) => ((r['kept'] as { counts: number[] }).counts[0] = 8), 'has kept that does not count'],
  ['sinks', (r) => ((r['kept'] as { sinks: number }).sinks = 99), 'has kept that does not count'],
  ['layers', (r) => (r['prompts'] as { layers: number[] }[])[0].layers.pop(), 'has prompts that are not'],
  ['prompts', (r) => (r['prompts'] as unknown[]).pop(), 'counts the prompts of'],
  ['a cost', (r) => (r['prefillFlops'] = 1), 'has prefillFlops 1, but its prompts make'],
  ['seen', (r) => (r['seen'] = 0), 'says that 0 pictures were seen by the clock, of 3'],
  ['times', (r) => (r['milliseconds'] = { see: 1 }), 'has times that are not numbers from 0 on'],
  ['seconds', (r) => (r['seconds'] = '1'), 'has times that are not numbers from 0 on'],
  ['commit', (r) => delete r['commit'], 'names no commit'],
];

test('a cell or a focus that is not as it was saved is refused, and the merge leaves nothing behind', async () => {
  const shards = [1, 2].map((number) => ({ number, count: 2 }));
  const names = shards.map(({ number }) => path.join(folder, `damaged-${number}`));
  for (const [i, shard] of shards.entries()) await work(path.basename(names[i]), shard);
  const all = { task, cells, config: model.config, key };
  const merge = async () => mergeShards(await findShards(names), all, () => storeOf('never', whole));
  const damage = async (file: string, change: Change, message: string) => {
    const text = await readFile(file, 'utf8');
    const json = JSON.parse(text) as Record<string, unknown>;
    change(json);
    await writeJson(file, json);
    await expect(merge()).rejects.toThrow(UserError);
    await expect(merge()).rejects.toThrow(`${file} ${message}`);
    await writeFile(file, text);
  };
  for (const [, change, message] of changes) {
    await damage(path.join(names[1], 'cells', 'vtc-cls@4.json'), change, message);
  }
  const focus = path.join(names[1], 'focus.json');
  await damage(focus, (f) => (f['pictures'] = 2), 'has pictures 2, not 3');
  await damage(focus, (f) => (f['onObjects'] = 2), 'has onObjects 2, not 12');
  await damage(focus, (f) => (f['hits'] = { 'layer 0': 1 }), 'should count 0 to 6 hits of each of layer 0');
  expect(existsSync(path.join(folder, 'never'))).toBe(false);
  const uncut = path.join(names[1], 'uncut.json');
  const text = await readFile(uncut, 'utf8');
  const store = await openStore(
    names[1],
    { ...key, shard: nameShard(shards[1]) },
    { task, shard: shards[1], config: model.config },
  );
  const firsts = (JSON.parse(text) as { firsts: { tokens: number[]; logs: number[] }[] }).firsts;
  expect(await store.loadUncut()).toEqual(firsts);
  for (const damaged of [
    firsts.slice(1),
    firsts.with(0, { tokens: [1], logs: [] }),
    firsts.with(0, { tokens: [1e9], logs: [-1] }),
    firsts.with(0, { tokens: [1], logs: [0.5] }),
  ]) {
    await writeJson(uncut, { firsts: damaged });
    await expect(store.loadUncut()).rejects.toThrow(`${uncut} should hold the first tokens of 7 answers`);
  }
  await rm(path.join(names[0], 'run.json'));
  const opening = openStore(names[0], key, { task, shard: shards[0], config: model.config });
  await expect(opening).rejects.toThrow(`--out ${names[0]} has no run.json, but 4 files in cells`);
});

test("a request is read back from a shard's flags, or refused by file and flag", () => {
  const flags = { model: 'm', task: 'pope', split: 'test', suffix: '', pad: false, methods: 'none' };
  const more = { seeds: 3, keep: '25%', newTokens: 3, fill: 'none', questions: 'q.jsonl' };
  expect(readRequest({ ...flags, ...more }, 'flags.json')).toEqual({ ...flags, ...more });
  const refused = (changes: object) => () => readRequest({ ...flags, ...more, ...changes }, 'flags.json');
  expect(refused({ task: 'gqa' })).toThrow(
    'flags.json: task should be one of world, boxes, names, exact, pope, vqa, is "gqa"',
  );
  expect(refused({ count: 0 })).toThrow('flags.json: count should be a positive integer, is 0');
  expect(refused({ methods: undefined })).toThrow('flags.json: methods is missing');
  expect(refused({ pad: 'no' })).toThrow(UserError);
});
