/** What is read back from an evaluation's folder is looked at like a stranger's: its shape, its lengths, whose it is. */
import { isDeepStrictEqual } from 'node:util';
import type { LlavaConfig } from '../../checkpoint/architecture.ts';
import { UserError } from '../../errors.ts';
import { isObject, type JsonObject } from '../../json.ts';
import type { Cell, CellRecord } from '../run/cell.ts';
import { costOf, joinPrompts, type PromptCount, type Times } from '../run/costs.ts';
import { countOnObjects, rankPatches, topPatches, type FocusCounts } from '../run/focus.ts';
import type { FirstToken } from '../run/first.ts';
import type { KeptCounts } from '../run/kept.ts';
import { keyOf } from '../run/variant.ts';
import { patchCount } from '../../vision/config.ts';
import { shardPictures, shardQuestions, type Shard } from './shard.ts';
import type { Task } from '../task/task.ts';

/** What the cells of a folder are about. */
export interface Contents {
  task: Task;
  shard: Shard;
  config: LlavaConfig;
}

/**
 * A cell as its file holds it.
 * @throws UserError naming the file, for another cell, other questions than the folder's, or costs that its prompts do
 *   not make
 */
export function checkRecord(
  found: JsonObject,
  file: string,
  { variant, budget, pictures }: Cell,
  { task, shard, config }: Contents,
): CellRecord {
  const refuse = (why: string) =>
    new UserError(`${file} ${why}: remove it, and start the evaluation once more`);
  for (const [name, value] of Object.entries({ variant: keyOf(variant), budget, pictures })) {
    if (found[name] !== value) throw refuse(`is of ${name} ${tell(found[name])}, not ${tell(value)}`);
  }
  const questions = shardQuestions(shard, task).length;
  const { answers, restricted, kl, kept, prompts, milliseconds, seen, seconds } = found;
  for (const [name, texts] of Object.entries({ answers, restricted })) {
    if (!isList(texts, (answer) => typeof answer === 'string')) {
      throw refuse(`has ${name} that are not texts`);
    }
    if (texts.length !== questions) throw refuse(`holds ${texts.length} ${name}, not ${questions}`);
  }
  if (kl !== undefined && !(isList(kl, isTime) && kl.length === questions)) {
    throw refuse(`should hold ${questions} numbers from 0 on as kl`);
  }
  if (kept !== undefined && !isKept(kept, questions, patchCount(config.vision))) {
    throw refuse(`has kept that does not count the patches of ${questions} questions`);
  }
  const { num_hidden_layers: L } = config.text;
  if (!isList(prompts, (prompt) => isPromptCount(prompt, L))) {
    throw refuse(`has prompts that are not tokens in ${L} layers`);
  }
  const asked = prompts.reduce((sum, prompt) => sum + prompt.questions, 0);
  if (asked !== questions) throw refuse(`counts the prompts of ${asked} questions, not of ${questions}`);
  for (const [name, value] of Object.entries(costOf(config.text, joinPrompts(prompts)))) {
    if (!isDeepStrictEqual(found[name], value)) {
      throw refuse(`has ${name} ${tell(found[name])}, but its prompts make ${tell(value)}`);
    }
  }
  const shown = shardPictures(shard, task.pictures.length).length;
  if (!isCount(seen) || seen < 1 || seen > shown) {
    throw refuse(`says that ${tell(seen)} pictures were seen by the clock, of ${shown}`);
  }
  if (!isTimes(milliseconds) || !isTime(seconds)) throw refuse('has times that are not numbers from 0 on');
  for (const name of ['commit', 'backend', 'machine']) {
    if (typeof found[name] !== 'string') throw refuse(`names no ${name}`);
  }
  return found as unknown as CellRecord;
}

/**
 * What [CLS] looks at, as its file holds it.
 * @throws UserError naming the file, for counts of another task or model
 */
export function checkFocus(found: JsonObject, file: string, { task, shard, config }: Contents): FocusCounts {
  const refuse = (why: string) =>
    new UserError(`${file} ${why}: remove it, and start the evaluation once more`);
  const shown = shardPictures(shard, task.pictures.length);
  const { hits, ...counts } = found;
  const patches = topPatches(config);
  const expected: Omit<FocusCounts, 'hits'> = {
    patches,
    pictures: shown.length,
    ...countOnObjects(
      config,
      shown.map((i) => task.pictures[i]),
    ),
  };
  for (const [name, value] of Object.entries(expected)) {
    if (counts[name] !== value) throw refuse(`has ${name} ${tell(counts[name])}, not ${tell(value)}`);
  }
  const names = rankPatches(config).map(({ name }) => name);
  const most = patches * shown.length;
  const isRight = isObject(hits) && isDeepStrictEqual(Object.keys(hits), names);
  if (!isRight || !Object.values(hits).every((count) => isCount(count) && count <= most)) {
    throw refuse(`should count 0 to ${most} hits of each of ${names.join(', ')}`);
  }
  return found as unknown as FocusCounts;
}

/**
 * What the uncut model would say first, as its file holds it.
 * @throws UserError naming the file, for other questions or vocabularies
 */
export function checkUncut(found: JsonObject, file: string, { task, shard, config }: Contents): FirstToken[] {
  const questions = shardQuestions(shard, task).length;
  const { firsts } = found;
  if (
    !isList(firsts, (first) => isFirstToken(first, config.text.vocab_size)) ||
    firsts.length !== questions
  ) {
    throw new UserError(
      `${file} should hold the first tokens of ${questions} answers: remove it, and start the evaluation once more`,
    );
  }
  return firsts;
}

function isFirstToken(x: unknown, V: number): x is FirstToken {
  if (!isObject(x)) return false;
  const { tokens, logs } = x;
  const isToken = (token: unknown): token is number => isCount(token) && token < V;
  const isLog = (log: unknown): log is number => Number.isFinite(log) && Number(log) <= 0;
  return isList(tokens, isToken) && isList(logs, isLog) && tokens.length === logs.length && tokens.length > 0;
}

/** No patch is kept for more questions than were asked, and no more are sinks than were kept. */
function isKept(x: unknown, questions: number, P: number): x is KeptCounts {
  if (!isObject(x)) return false;
  const { counts, sinks } = x;
  if (!isList(counts, isCount) || counts.length !== P || !isCount(sinks)) return false;
  const all = counts.reduce((sum, count) => sum + count, 0);
  return x['questions'] === questions && counts.every((count) => count <= questions) && sinks <= all;
}

const tell = (value: unknown): string => JSON.stringify(value) ?? 'nothing';

const isCount = (x: unknown): x is number => Number.isSafeInteger(x) && Number(x) >= 0;

const isTime = (x: unknown): x is number => Number.isFinite(x) && Number(x) >= 0;

const isTimes = (x: unknown): x is Times =>
  isObject(x) && [x['see'], x['prefill'], x['decode']].every(isTime);

function isPromptCount(x: unknown, L: number): x is PromptCount {
  if (!isObject(x)) return false;
  const { layers, questions } = x;
  return isCount(questions) && questions > 0 && isList(layers, isCount) && layers.length === L;
}

function isList<T>(list: unknown, is: (x: unknown) => x is T): list is T[] {
  return Array.isArray(list) && list.every(is);
}
