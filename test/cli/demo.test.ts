import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { decodeImage } from '../../src/node/decode.ts';
import type { Picture } from '../../src/image/picture.ts';
import { drawWorld } from '../../src/world/draw.ts';
import { askScene } from '../../src/world/questions.ts';
import { createScene, shownScene } from '../../src/world/scene.ts';
import { expectRefusal, listFiles, makeDemoFiles, makeFileFolder, vtc, vtcOk } from '../support/cli.ts';

const folder = await makeFileFolder();

interface Answer {
  answer: string;
  kept: number[];
}

/** The pixels of the picture inside one panel of the sheet: [y][x] → RGB. */
function readPanel(sheet: Picture, index: number, side: number): number[][] {
  const [gap, titleHeight, columns] = [12, 28, 3];
  const left = gap + (index % columns) * (side + gap);
  const top = gap + Math.floor(index / columns) * (side + titleHeight + gap) + titleHeight;
  return Array.from({ length: side * side }, (_, i) => {
    const at = ((top + Math.floor(i / side)) * sheet.width + left + (i % side)) * 3;
    return [...sheet.data.subarray(at, at + 3)];
  });
}

describe('demo', () => {
  const out = path.join(folder, 'new', 'demo');

  test('asks all questions of a test scene three times, and walks once; vtc run says the same', async () => {
    const stdout = await vtcOk('demo', '--out', out);
    const scene = path.join(out, 'scene.png');
    expect(await listFiles(out)).toEqual(['heatmap.png', 'scene.png']);
    expect((await decodeImage(scene)).data).toEqual(drawWorld(createScene('test', shownScene)).data);

    const questions = askScene(createScene('test', shownScene));
    const [answers, costs, walk] = stdout.split('\n\n').slice(1);
    const rows = answers.split('\n').slice(1);
    expect(rows).toHaveLength(questions.length);
    for (const [i, { question, answer }] of questions.entries()) {
      const cells = rows[i].split(/ {2,}/);
      expect(cells[0]).toBe(question);
      for (const cell of cells.slice(1)) expect(cell.endsWith(' ✗')).toBe(cell !== answer);
    }
    expect(costs).toMatch(/^prompt tokens +\d+ +\d+ +\d+$/m);
    expect(costs).toMatch(/^reading the prompt +[\d.]+ ms +[\d.]+ ms +[\d.]+ ms$/m);
    expect(walk).toMatch(/compress\.scores {9}\[B=1 P=100\]/);
    expect(walk).toMatch(/compress\.kept {11}\[B=1 U=25\]/);

    // The same question on the command line, of the model that is the default, gives the same answer.
    const [{ question }] = questions;
    const ask = ['run', '--image', scene, '--question', question, '--json'];
    const said = async (...flags: string[]) => JSON.parse(await vtcOk(...ask, ...flags)) as Answer;
    const [full, pruned, random] = [
      await said('--method', 'none'),
      await said(),
      await said('--method', 'random'),
    ];
    const cells = rows[0].split(/ {2,}/).slice(1);
    expect(cells.map((cell) => cell.replace(' ✗', ''))).toEqual([full, pruned, random].map((x) => x.answer));

    // 80 pixels are drawn 3 times as large: 10 × 10 patches of 24 pixels; six panels, three in a row.
    const [side, patch] = [240, 24];
    const sheet = await decodeImage(path.join(out, 'heatmap.png'));
    expect([sheet.width, sheet.height]).toEqual([3 * (side + 12) + 12, 2 * (side + 28 + 12) + 12]);
    const [seen, kept] = [readPanel(sheet, 0, side), readPanel(sheet, 5, side)];
    const wrong = seen.findIndex(([r, g, b], i) => {
      const index = Math.floor(i / side / patch) * 10 + Math.floor((i % side) / patch);
      const grey = Math.floor(0.2 * (0.3 * r + 0.59 * g + 0.11 * b));
      const wanted = pruned.kept.includes(index) ? [r, g, b] : [grey, grey, grey];
      return wanted.some((value, c) => Math.abs(value - kept[i][c]) > 1);
    });
    expect(wrong, 'the first pixel of the last panel that is not as it should be').toBe(-1);
  });

  test('--scene shows another scene', async () => {
    const other = path.join(folder, 'other');
    const stdout = await vtcOk('demo', '--out', other, '--scene', '2');
    for (const { question } of askScene(createScene('test', 2))) expect(stdout).toContain(question);
    const [a, b] = await Promise.all([out, other].map((dir) => readFile(path.join(dir, 'scene.png'))));
    expect(a.equals(b)).toBe(false);
  });
});

test.concurrent('run names the model that is asked where none was given', async () => {
  const { scene } = await makeDemoFiles(path.join(folder, 'default'));
  const stdout = await vtcOk('run', '--image', scene, '--question', 'how many shapes are there ?');
  expect(stdout).toMatch(/^model: weights\/llava, which comes with this program\n/);
});

test.concurrent('demo refuses a folder that cannot be made', async () => {
  const { scene } = await makeDemoFiles(path.join(folder, 'refused'));
  const deeper = path.join(scene, 'deeper');
  const result = await vtc('demo', '--out', deeper);
  expectRefusal({ ...result, stdout: '' }, `cannot make the folder ${deeper}: ${scene} is not a folder`);
  expect(result.stdout).toBe('');
});
