import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { CellRecord } from '../../src/eval/run/cell.ts';
import { popeFigures } from '../../src/eval/task/pope-score.ts';
import type { Results } from '../../src/eval/page/report.ts';
import { writeRandomLlava } from '../support/random-llava.ts';
import { worldQuestions } from '../../src/world/questions.ts';
import {
  expectRefusal,
  killWhen,
  listFiles,
  makeFileFolder,
  vtc,
  vtcOk,
  vtcOkAlone,
} from '../support/cli.ts';

const folder = await makeFileFolder();
const model = path.join(folder, 'model');
await writeRandomLlava(model, 8);
const few = ['--backend', 'wasm', '--new-tokens', '2'];
const asked = ['eval', '--model', model, ...few, '--count', '1', '--keep', '25%'];
const base = [...asked, '--methods', 'none,vtc-cls:layers=1,random', '--seeds', '2'];
const cellCount = 3 + 1 + 1 + 1;

const undisturbed = path.join(folder, 'undisturbed');
const finished = vtcOkAlone(...base, '--out', undisturbed);
const read = (...names: string[]) => readFile(path.join(...names), 'utf8');
/** The Markdown without the lines that name the run, and without what was measured. */
const tablesOf = async (out: string) =>
  (await read(out, 'results.md'))
    .replace(/^- (command|commit).*$/gm, '')
    .replace(/### Milliseconds[^#]*/, '');
/** The JSON likewise. */
const figuresOf = async (out: string) => {
  const { rows, ...rest } = JSON.parse(await read(out, 'results.json')) as Results;
  const timeless = rows.map(({ milliseconds, ...row }) => ({ ...row, times: Object.keys(milliseconds) }));
  return { ...rest, rows: timeless, command: '', date: '' };
};

/** Starts an evaluation and kills it as soon as it has left so many cells. */
const runAndKill = (out: string, cells: number): Promise<void> =>
  killWhen([...base, '--out', out], async () => {
    const left = await readdir(path.join(out, 'cells')).catch(() => []);
    return left.length >= cells;
  });

describe.concurrent('eval', { timeout: 400_000 }, () => {
  test('asks every question in every cell, and writes tables, JSON and curves', async () => {
    const stdout = await finished;
    const results = JSON.parse(await read(undisturbed, 'results.json')) as Results;
    const questions = worldQuestions('test', 1).length;
    expect(results).toMatchObject({
      questions,
      pictures: 1,
      patches: 144,
      models: [model],
      backends: ['wasm'],
    });
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

  test("a file of the world's questions in POPE's format: the same answers, POPE's figures", async () => {
    const world = path.join(folder, 'world');
    await vtcOk('world', '--count', '1', '--out', world);
    const asked = worldQuestions('test', 1).map(({ scene, question }) => {
      return { question_id: question.id, image: `${scene.id}.png`, text: question.question, label: 'yes' };
    });
    const questions = path.join(world, 'pope.jsonl');
    await writeFile(questions, asked.map((line) => JSON.stringify(line)).join('\n'));
    const [out, cell] = [path.join(folder, 'pope'), ['cells', 'none@144.json']];
    const flags = ['--task', 'pope', '--questions', questions, '--methods', 'none', ...few];
    const stdout = await vtcOk('eval', '--model', model, ...flags, '--out', out);
    await finished;
    const answersOf = async (folder: string) =>
      (JSON.parse(await read(folder, ...cell)) as CellRecord).answers;
    const answers = await answersOf(out);
    expect(answers).toEqual(await answersOf(undisturbed));
    const results = JSON.parse(await read(out, 'results.json')) as Results;
    expect(results.rows[0].pope).toEqual(popeFigures(answers, Array<string>(answers.length).fill('yes')));
    expect(results.rows[0].overall.accuracy).toBe(results.rows[0].pope!.accuracy);
    expect(stdout).toContain(
      '| method             | tokens | accuracy | precision | recall |    F1 | % yes |',
    );
    const elsewhere = path.join(folder, 'elsewhere');
    await cp(world, elsewhere, { recursive: true });
    expectRefusal(
      await vtc('eval', '--model', model, ...flags, '--images', elsewhere, '--out', out),
      `--out ${out} holds an evaluation whose images is "${world}", not "${elsewhere}": give another folder`,
    );
  });

  test('four shards, merged in any order, leave the same files as one undisturbed run', async () => {
    const four = ['eval', '--model', model, ...few, '--count', '4', '--keep', '25%'];
    four.push('--methods', 'none,random', '--seeds', '2');
    const [one, merged] = ['one', 'merged'].map((name) => path.join(folder, name));
    const shards = [3, 1, 4, 2].map((i) => path.join(folder, `shard-${i}`));
    const shardOf = (out: string) => ['--shard', `${out.at(-1)}/4`, '--out', out];
    const alone = vtcOk(...four, '--out', one);
    await Promise.all(shards.slice(1).map((out) => vtcOk(...four, ...shardOf(out))));
    expect(await listFiles(shards[1])).not.toContain('results.json');
    const join = (folders: string[]) => ['eval', '--merge', ...folders, '--out', merged];
    expectRefusal(
      await vtc(...join(shards.slice(1))),
      /^--merge: shard 1\/3 is missing; the folders hold 1\/4, 4\/4, 2\/4$/,
    );
    expect(await vtcOk(...four, ...shardOf(shards[0]))).toMatch(/^shard 3\/4 is done/);
    await vtcOk(...join(shards));
    await alone;
    expect(await tablesOf(merged)).toBe(await tablesOf(one));
    expect(await figuresOf(merged)).toEqual(await figuresOf(one));
    expect(await read(merged, 'curves.svg')).toBe(await read(one, 'curves.svg'));
    expectRefusal(
      await vtc(...join(shards), '--seeds', '3'),
      "--merge takes --seeds from the shards' folders: leave it out",
    );
  });

  test('several models are one table, each in a folder of its own; one is held against, one makes questions hard', async () => {
    const other = path.join(folder, 'other');
    await writeRandomLlava(other, 9);
    const out = path.join(folder, 'several');
    const flags = [
      '--methods',
      'none,vtc-cls,random',
      '--seeds',
      '1',
      '--against',
      'vtc-cls',
      '--hard',
      'random',
    ];
    const rest = [...few, '--count', '1', '--keep', '25%'];
    const stdout = await vtcOk('eval', '--model', model, other, ...rest, ...flags, '--out', out);
    const results = JSON.parse(await read(out, 'results.json')) as Results;
    expect(results.models).toEqual([model, other]);
    expect(results.rows.map(({ models }) => models)).toEqual(results.rows.map(() => 2));
    expect(stdout).toMatch(/### Against vtc-cls[^#]*\| random /);
    for (const name of ['model-1', 'model-2']) {
      expect((await listFiles(path.join(out, name, 'cells'))).length).toBe(3 + 2);
    }
    expect(await read(out, 'kept.svg')).toMatch(/^<svg/);
    // Answers of a single model are those that it gives alone.
    const alone = path.join(folder, 'alone');
    await vtcOk('eval', '--model', other, ...rest, ...flags, '--out', alone);
    const cell = ['cells', 'vtc-cls@36.json'];
    const [a, b] = await Promise.all([read(alone, ...cell), read(out, 'model-2', ...cell)]);
    expect((JSON.parse(a) as CellRecord).answers).toEqual((JSON.parse(b) as CellRecord).answers);
    expectRefusal(
      await vtc('eval', '--model', model, other, ...rest, '--shard', '1/2', '--out', out),
      '--shard 1/2: one model at a time, not 2',
    );
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
    [['--shard', '1/2'], '--shard 1/2: there are only 1 pictures to share out'],
    [['--task', 'pope'], '--task pope needs --questions FILE'],
    [
      ['--suffix', '.'],
      '--task world asks its own questions: give --task exact or pope or vqa with --questions',
    ],
    [
      ['--task', 'vqa', '--questions', 'none.jsonl'],
      /^cannot read the questions none.jsonl: there is no such/,
    ],
    [['--against', 'fastv'], /^--against fastv: is none of the methods asked for, none, vtc-cls:layers=1, /],
    [
      ['--methods', 'vtc-cls', '--hard', 'vtc-cls'],
      /^--hard vtc-cls: what is hard is told from the uncut model/,
    ],
    [['--methods', 'fastv', '--fill', 'blank'], /^--fill blank: fastv does more than drop patches/],
    [['--new-tokens', '500'], /^the prompt takes \d+ positions and 500 new tokens are asked for/],
  ])('%j is refused before anything is written', async (flags, message) => {
    const out = path.join(folder, `refused${flags.join('')}`);
    expectRefusal(await vtc(...asked, ...flags, '--out', out), message);
    await expect(readdir(out)).rejects.toThrow('ENOENT');
  });
});
