import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { decodeImage, type Picture } from '../../src/image/decode.ts';
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

  test('walks twice, and leaves the scene, the model and the heat map of what an equal run keeps', async () => {
    const stdout = await vtcOk('demo', '--out', out);

    expect(await listFiles(out)).toEqual([
      'heatmap.png',
      'model/config.json',
      'model/model.safetensors',
      'model/tokenizer.json',
      'scene.png',
    ]);
    const [, none, vtcCls] = stdout.split(/^(?=none|vtc-cls)/m);
    expect(none).toMatch(/^none, keeping 100% of the visual tokens\n/);
    expect(none).toMatch(/kept {14}\[B=1 U=144\]/);
    expect(none).toMatch(/prefill: logits {3}\[B=1 1 V=99\]/);
    expect(none).not.toMatch(/\[CLS\] attention/);
    expect(vtcCls).toMatch(/^vtc-cls, keeping 25% of the visual tokens\n/);
    for (const layer of [2, 3, 4]) expect(vtcCls).toContain(`[CLS] attention ${layer} [B=1 H=4 P=144]`);
    expect(vtcCls).toMatch(/scores s {10}\[B=1 P=144\]/);
    expect(vtcCls).toMatch(/kept {14}\[B=1 U=36\]/);
    for (const walk of [none, vtcCls]) {
      expect(walk).toMatch(/decode: tokens {4}\[B=1 R=12\] +\d+\.\d ms\n.* of KV cache\n {2}answer: .{12}\n/);
    }
    expect(stdout).toMatch(/The answers are noise, because the weights are random/);

    // The same question on the command line gives the same answers and the same patches.
    const ask = ['run', '--model', path.join(out, 'model'), '--image', path.join(out, 'scene.png')];
    ask.push('--question', 'What is in the picture?', '--new-tokens', '12', '--json');
    const [full, pruned] = await Promise.all(
      [['--method', 'none'], []].map(async (rest) => JSON.parse(await vtcOk(...ask, ...rest)) as Answer),
    );
    expect(none).toContain(`  answer: ${full.answer}\n`);
    expect(vtcCls).toContain(`  answer: ${pruned.answer}\n`);
    expect(pruned.kept).toHaveLength(36);

    // 96 pixels are drawn 3 times as large: 12 × 12 patches of 24 pixels; six panels, three in a row.
    const [side, patch] = [288, 24];
    const sheet = await decodeImage(path.join(out, 'heatmap.png'));
    expect([sheet.width, sheet.height]).toEqual([3 * (side + 12) + 12, 2 * (side + 28 + 12) + 12]);
    const [seen, kept] = [readPanel(sheet, 0, side), readPanel(sheet, 5, side)];
    const wrong = seen.findIndex(([r, g, b], i) => {
      const index = Math.floor(i / side / patch) * 12 + Math.floor((i % side) / patch);
      const grey = Math.floor(0.2 * (0.3 * r + 0.59 * g + 0.11 * b));
      const wanted = pruned.kept.includes(index) ? [r, g, b] : [grey, grey, grey];
      return wanted.some((value, c) => Math.abs(value - kept[i][c]) > 1);
    });
    expect(wrong, 'the first pixel of the last panel that is not as it should be').toBe(-1);
    expect(Math.min(...seen.map(([r, g, b]) => r + g + b)), 'no black pixel, dim as ever').toBeGreaterThan(
      50,
    );
  });

  test('makes the same files of the same seed, others of another', async () => {
    const [same, other] = ['same', 'other'].map((name) => path.join(folder, name));
    await makeDemoFiles(same); // by the same functions, of the default seed
    await vtcOk('demo', '--out', other, '--seed', '9');
    for (const name of ['scene.png', 'model/model.safetensors']) {
      const [a, b, c] = await Promise.all([out, same, other].map((dir) => readFile(path.join(dir, name))));
      expect(a.equals(b), name).toBe(true);
      expect(a.equals(c), name).toBe(false);
    }
  });
});

test.concurrent('demo refuses a folder that cannot be made', async () => {
  const { scene } = await makeDemoFiles(path.join(folder, 'refused'));
  for (const out of [scene, path.join(scene, 'deeper')]) {
    const result = await vtc('demo', '--out', out);
    expectRefusal(
      { ...result, stdout: '' },
      `cannot make the folder ${path.join(out, 'model')}: a part of its path is not a folder`,
    );
    expect(result.stdout).toMatch(/^backend: [^\n]+\n$/);
  }
});
