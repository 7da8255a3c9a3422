/** Joins what the shards of an evaluation left to what one undisturbed run would have left. */
import path from 'node:path';
import type { LlavaConfig } from '../../checkpoint/architecture.ts';
import type { DecoderConfig } from '../../decoder/config.ts';
import { UserError } from '../../errors.ts';
import { readJson } from '../../node/files.ts';
import type { JsonObject } from '../../json.ts';
import type { Cell, CellRecord } from '../run/cell.ts';
import { addTimes, costOf, joinPrompts } from '../run/costs.ts';
import { joinFocus } from '../run/focus.ts';
import { joinKept } from '../run/kept.ts';
import { nameShard, shardQuestions, type Shard } from './shard.ts';
import { openStore, type CellStore, type RunKey } from './store.ts';
import type { Task } from '../task/task.ts';

/** A shard's folder, and the flags that it was last started with. */
interface ShardFolder {
  folder: string;
  shard: Shard;
  flags: JsonObject;
}

/**
 * Finds the shards 1 to n in n folders, given in any order.
 * @throws UserError when one is missing, or was asked for other methods, budgets or questions than the first
 */
export async function findShards(folders: readonly string[]): Promise<ShardFolder[]> {
  const found = await Promise.all(
    folders.map(async (folder) => {
      const [key, flags] = await Promise.all(
        ['run.json', 'flags.json'].map((name) => readJson(path.join(folder, name))),
      );
      if (!key || !flags) throw new UserError(`--merge ${folder}: no evaluation was begun there`);
      return { folder, name: String(key['shard']), flags };
    }),
  );
  return found.map((_, i) => {
    const shard = { number: i + 1, count: found.length };
    const place = found.find(({ name }) => name === nameShard(shard));
    if (!place) {
      const names = found.map(({ name }) => name).join(', ');
      throw new UserError(`--merge: shard ${nameShard(shard)} is missing; the folders hold ${names}`);
    }
    for (const flag of Object.keys({ ...found[0].flags, ...place.flags })) {
      const [a, b] = [found[0], place].map(({ flags }) => JSON.stringify(flags[flag]) ?? 'not given');
      if (a !== b) {
        throw new UserError(`--merge: ${flag} was ${a} in ${found[0].folder} but ${b} in ${place.folder}`);
      }
    }
    return { folder: place.folder, shard, flags: place.flags };
  });
}

interface Whole {
  task: Task;
  cells: readonly Cell[];
  config: LlavaConfig;
  key: RunKey;
}

/**
 * Fills a store with all cells of the whole evaluation. It is opened when all shards are found to be right.
 * @throws UserError when a shard is not finished, is damaged, or belongs to another evaluation
 */
export async function mergeShards(
  shards: readonly ShardFolder[],
  { task, cells, config, key }: Whole,
  open: () => Promise<CellStore>,
): Promise<CellStore> {
  const stores: CellStore[] = [];
  for (const { folder, shard } of shards) {
    const shardKey = { ...key, shard: nameShard(shard) };
    stores.push(await openStore(folder, shardKey, { task, shard, config }, '--merge'));
  }
  const order = shards.flatMap(({ shard }) => shardQuestions(shard, task)); // of all answers, shard after shard
  const joined: { cell: Cell; record: CellRecord }[] = [];
  for (const cell of cells) {
    const parts: CellRecord[] = [];
    for (const [i, store] of stores.entries()) {
      const part = await store.load(cell);
      if (!part) {
        throw new UserError(
          `--merge ${shards[i].folder}: shard ${nameShard(shards[i].shard)} is not finished; start it once more`,
        );
      }
      parts.push(part);
    }
    joined.push({ cell, record: joinRecords(parts, order, config.text) });
  }
  const focus = await Promise.all(stores.map((store) => store.loadFocus()));
  const into = await open();
  for (const { cell, record } of joined) await into.save(cell, record);
  if (focus.every((part) => part !== undefined)) await into.saveFocus(joinFocus(focus));
  return into;
}

/** @param order for each answer, part after part, its question */
function joinRecords(
  parts: readonly CellRecord[],
  order: readonly number[],
  config: DecoderConfig,
): CellRecord {
  const inOrder = <T>(of: (part: CellRecord) => readonly T[]): T[] => {
    const joined = Array<T>(order.length);
    for (const [i, one] of parts.flatMap(of).entries()) joined[order[i]] = one;
    return joined;
  };
  const has = (name: 'kl' | 'kept') => parts.every((part) => part[name]);
  const prompts = joinPrompts(parts.flatMap((part) => part.prompts));
  const all = (of: (part: CellRecord) => string, between = ', ') => [...new Set(parts.map(of))].join(between);
  return {
    ...parts[0], // variant, budget, pictures
    answers: inOrder(({ answers }) => answers),
    restricted: inOrder(({ restricted }) => restricted),
    kl: has('kl') ? inOrder(({ kl }) => kl!) : undefined,
    kept: has('kept') ? joinKept(parts.map(({ kept }) => kept!)) : undefined,
    prompts,
    ...costOf(config, prompts),
    milliseconds: addTimes(parts.map(({ milliseconds }) => milliseconds)),
    seen: parts.reduce((sum, { seen }) => sum + seen, 0),
    seconds: parts.reduce((sum, { seconds }) => sum + seconds, 0),
    commit: all(({ commit }) => commit),
    backend: all(({ backend }) => backend),
    machine: all(({ machine }) => machine, ' + '),
  };
}
