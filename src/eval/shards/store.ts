/** Where finished cells lie, one file each: an evaluation that was cut off goes on where it stopped. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { UserError } from '../../errors.ts';
import { makeFolder, writeText, readJson } from '../../node/files.ts';
import type { JsonObject } from '../../json.ts';
import { cellName, type Cell, type CellRecord } from '../run/cell.ts';
import type { FirstToken } from '../run/first.ts';
import type { FocusCounts } from '../run/focus.ts';
import { checkFocus, checkRecord, checkUncut, type Contents } from './stored.ts';
import type { Task } from '../task/task.ts';

/** What all cells of a folder have in common; under another of these, answers would be others. */
export type RunKey = {
  task: string;
  questions: string; // a digest
  images: string; // the folder that they name pictures of; '' where these are drawn
  model: string; // a digest of the folder's contents
  clip: string; // the same, or `none`
  maxNewTokens: number;
  pad: boolean;
  fill: string;
  shard: string;
};

export interface CellStore {
  /** @returns undefined for a cell that is still to be done */
  load(cell: Cell): Promise<CellRecord | undefined>;
  save(cell: Cell, record: CellRecord): Promise<void>;
  loadFocus(): Promise<FocusCounts | undefined>;
  saveFocus(focus: FocusCounts): Promise<void>;
  /** What the uncut model would say first, in the order of the questions. */
  loadUncut(): Promise<FirstToken[] | undefined>;
  saveUncut(firsts: readonly FirstToken[]): Promise<void>;
}

/**
 * Opens a folder of cells, new or begun.
 * @param contents what its cells must be about
 * @param flag what names the folder in messages
 * @throws UserError when it holds another run's, or cannot be written. So do its `load`s for what is not as it was saved
 */
export async function openStore(
  folder: string,
  key: RunKey,
  contents: Contents,
  flag = '--out',
): Promise<CellStore> {
  const cells = path.join(folder, 'cells');
  const [focusFile, uncutFile] = ['focus.json', 'uncut.json'].map((name) => path.join(folder, name));
  const keyFile = path.join(folder, 'run.json');
  const found = await readJson(keyFile);
  if (found) checkKey(found, key, `${flag} ${folder}`);
  else await refuseOrphans(cells, `${flag} ${folder}`);
  await makeFolder(cells);
  if (!found) await writeJson(keyFile, key);
  const fileOf = (cell: Cell) => path.join(cells, `${cellName(cell)}.json`);
  return {
    load: async (cell) => {
      const record = await readJson(fileOf(cell));
      return record && checkRecord(record, fileOf(cell), cell, contents);
    },
    save: (cell, record) => writeJson(fileOf(cell), record),
    loadFocus: async () => {
      const focus = await readJson(focusFile);
      return focus && checkFocus(focus, focusFile, contents);
    },
    saveFocus: (focus) => writeJson(focusFile, focus),
    loadUncut: async () => {
      const uncut = await readJson(uncutFile);
      return uncut && checkUncut(uncut, uncutFile, contents);
    },
    saveUncut: (firsts) => writeJson(uncutFile, { firsts }),
  };
}

/** @throws UserError for cells that no run.json says the run of */
async function refuseOrphans(cells: string, what: string): Promise<void> {
  const names = await readdir(cells).catch(() => []);
  if (names.length > 0) {
    throw new UserError(`${what} has no run.json, but ${names.length} files in cells: give another folder`);
  }
}

function checkKey(found: JsonObject, key: RunKey, what: string): void {
  for (const [name, value] of Object.entries(key)) {
    if (found[name] !== value) {
      throw new UserError(
        `${what} holds an evaluation whose ${name} is ${JSON.stringify(found[name])}, ` +
          `not ${JSON.stringify(value)}: give another folder`,
      );
    }
  }
}

export async function writeJson(file: string, value: object): Promise<void> {
  await writeText(file, `${JSON.stringify(value)}\n`);
}

/** A digest of a task's questions, right answers and pictures' names. */
export function digestQuestions({ questions, pictures }: Task): string {
  const told = questions.map(({ id, picture, question, answer, answers = [], numbers = [] }) => {
    return [id, pictures[picture].id, question, answer, ...answers, ...numbers];
  });
  return createHash('sha256').update(JSON.stringify(told)).digest('hex').slice(0, 16);
}

/** A digest of what a model's folder holds, its JSON files, templates and weights, and of the template given beside it. */
export async function digestModel(dir: string, template?: string): Promise<string> {
  const hash = createHash('sha256');
  const names = (await readdir(dir)).filter((name) => /\.(json|jinja|safetensors)$/.test(name)).sort();
  const files = names.map((name) => [name, path.join(dir, name)]);
  if (template !== undefined) files.push(['--template', template]);
  for (const [name, file] of files) {
    hash.update(`${name}\n`);
    for await (const piece of createReadStream(file)) hash.update(piece as Buffer);
  }
  return hash.digest('hex').slice(0, 16);
}
