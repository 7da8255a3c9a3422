import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { Results } from '../../src/eval/report.ts';
import { writeRandomLlava } from '../support/random-llava.ts';
import { worldQuestions } from '../../src/world/questions.ts';
import { expectRefusal, listFiles, makeFileFolder, vtc, vtcOk } from '../support/cli.ts';

const folder = await makeFileFolder();
const model = path.join(folder, 'model');
await writeRandomLlava(model, 8);
const asked = ['eval', '--model', model, '--backend', 'wasm', '--count', '1', '--keep', '25%'];
const base = [...asked, '--methods', 'none,vtc-cls:layers=1,random,random:seed=1'];
const cellCount = 3 + 1 + 1 + 1;

const undisturbed = path.join(folder, 'undisturbed');
const finished = vtcOk(...base, '--out', undisturbed);
const read = (...names: string[]) => readFile(path.join(...names), 'utf8');
/** The Markdown without the lines that name the run. */
const tablesOf = async (out: string) =>
  (await read(out, 'results.md')).replace(/^- (command|commit).*$/gm, '');

/** Starts an evaluation and kills it as soon as it has left so many cells. */
async function runAndKill(out: string, cells: number): Promise<void> {
  const root = path.join(import.meta.dirname, '..', '..');
  const command = ['--import', 'tsx', 'src/cli/main.ts', ...base, '--out', out];
  const child = spawn(process.execPath, command, { cwd: root, stdio: 'ignore' });
  const ended = new Promise((resolve) => child.on('close', resolve));
  const left = () => readdir(path.join(out, 'cells')).catch(() => []);
  while (child.exitCode === null && (await left()).length < cells) await pause(5);
  child.kill('SIGKILL');
  await ended;
}

describe.concurrent('eval', { timeout: 180_000 }, () => {
  test('asks every question in every cell, and writes tables, JSON and curves', async () => {
    const stdout = await finished;
    const results = JSON.parse(await read(undisturbed, 'results.json')) as Results;
    const questions = worldQuestions('test', 1).length;
    expect(results).toMatchObject({ questions, pictures: 1, patches: 144, model, backends: ['wasm'] });
    expect(results.command).toBe(['vtc', ...base, '--out', undisturbed].join(' '));
    expect(results.rows.map((row) => `${row.series} ${row.budget} ${row.pictures} ${row.seeds}`)).toEqual([
      'none 144 own 1',
      'none 144 grey 1',
      'none 144 wrong 1',
      'vtc-cls:layers=1 36 own 1',
      'random 36 own 2',
    ]);
    for (const { overall, byType } of results.rows) {
      expect(overall.n).toBe(questions);
      expect(Object.values(byType).reduce((sum, { n }) => sum + n, 0)).toBe(questions);
    }
    const [full, , , cut] = results.rows;
    expect(full.layerTokens[3] - cut.layerTokens[3]).toBeCloseTo(144 - 36, 9);
    expect(Object.keys(results.focus!.shares)).toHaveLength(5 + 1);
    expect(stdout).toContain(await read(undisturbed, 'results.md'));
    expect(await read(undisturbed, 'curves.svg')).toMatch(/^<svg/);
    expect((await listFiles(path.join(undisturbed, 'cells'))).length).toBe(cellCount);
  });

  test('killed in the middle and started again, it ends with the same tables and does nothing twice', async () => {
    const out = path.join(folder, 'killed');
    await runAndKill(out, 2);
    const left = (await listFiles(path.join(out, 'cells'))).filter((name) => name.endsWith('.json'));
    expect(left.length).toBeGreaterThan(0);
    expect(left.length).toBeLessThan(cellCount); // it was killed in time
    const before = await Promise.all(left.map((name) => read(out, 'cells', name)));
    await vtcOk(...base, '--out', out);
    const after = await Promise.all(left.map((name) => read(out, 'cells', name)));
    expect(after).toEqual(before); // with the seconds that they took
    await finished;
    expect(await tablesOf(out)).toBe(await tablesOf(undisturbed));
  });

  test('a folder that holds another evaluation is refused', async () => {
    await finished;
    const other = await vtc(...base, '--count', '2', '--out', undisturbed);
    const names = ['world, test split, 1 scenes', 'world, test split, 2 scenes'].map((name) =>
      JSON.stringify(name),
    );
    expectRefusal(
      other,
      `--out ${undisturbed} holds an evaluation whose task is ${names[0]}, not ${names[1]}: give another folder`,
    );
  });

  test.each([
    [['--methods', 'fast'], /^unknown method "fast": choose /],
    [
      ['--methods', 'vtc-cls:layers=6'],
      /^--layers 6: the ensemble ends at layer 4, so it can have 1 to 5 layers$/,
    ],
    [['--keep', '25%,none'], /^--keep none: is not a number of patches/],
    [['--new-tokens', '500'], /^the prompt takes \d+ positions and 500 new tokens are asked for/],
  ])('%j is refused before anything is written', async (flags, message) => {
    const out = path.join(folder, `refused${flags.join('')}`);
    expectRefusal(await vtc(...asked, ...flags, '--out', out), message);
    await expect(readdir(out)).rejects.toThrow('ENOENT');
  });
});
