import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { listFiles, makeFileFolder, readTensors, vtcOk } from '../support/cli.ts';
import type { StoredTensor, StoredTensors } from '../support/cli.ts';
import { fixture, golden, hasFixtures } from '../support/golden.ts';

const folder = await makeFileFolder();
const noFixtures = '../shared/fixtures is not beside the checkout';

let files = 0;
/** `vtc trace …` into a file of its own; the folder holds nothing else afterwards. */
async function trace(...args: string[]): Promise<StoredTensors & { stdout: string }> {
  const out = path.join(folder, `${files++}`);
  await mkdir(out);
  const stdout = await vtcOk('trace', ...args, '--out', path.join(out, 't.safetensors'));
  expect(await listFiles(out)).toEqual(['t.safetensors']);
  const written = await readTensors(path.join(out, 't.safetensors'));
  expectAxes(written);
  expect(stdout).toMatch(new RegExp(`\\n${written.names.length} tensors in .*t\\.safetensors\\n$`));
  return { ...written, stdout };
}

/** Each tensor's axes stand in the metadata, and every letter has one length in the whole file (H, N are a tower's own). */
function expectAxes({ metadata, names, get }: StoredTensors): void {
  expect(Object.keys(metadata).sort()).toEqual([...names].sort());
  const lengths: Record<string, number> = {};
  for (const name of names) {
    const axes = metadata[name].split(' ');
    const { shape } = get(name);
    expect(axes, name).toHaveLength(shape.length);
    for (const [i, axis] of axes.entries()) {
      const key = axis === 'H' ? `${name.split('.')[0]} H` : axis === 'U' ? `${name} U` : axis;
      expect(shape[i], `${name}: ${axis}`).toBe(
        /^\d+$/.test(axis) ? Number(axis) : (lengths[key] ??= shape[i]),
      );
    }
  }
  if (lengths['N'] && lengths['P']) expect(lengths['N']).toBe(1 + lengths['P']);
}

/** To 1e-4 of the largest expected value; whole numbers exactly. */
function expectSame(actual: StoredTensor, expected: StoredTensor, what: string): void {
  expect(actual.shape, `${what}: shape`).toEqual(expected.shape);
  const bound = expected.values instanceof Int32Array ? 0 : 1e-4;
  let [worst, largest] = [0, 0];
  for (const [i, value] of expected.values.entries()) {
    const difference = Math.abs(actual.values[i] - value);
    worst = Number.isNaN(difference) ? Infinity : Math.max(worst, difference);
    largest = Math.max(largest, Math.abs(value));
  }
  expect(worst, what).toBeLessThanOrEqual(bound * largest);
}

/** The rows [B, i, E] of a tensor at these indices [B, U]. */
function pickRows(
  { shape: [B, P, E], values }: StoredTensor,
  { shape, values: rows }: StoredTensor,
): StoredTensor {
  const U = shape[1];
  const picked = new Float32Array(B * U * E);
  for (const [i, row] of rows.entries()) {
    const start = (Math.floor(i / U) * P + row) * E;
    picked.set((values as Float32Array).subarray(start, start + E), i * E);
  }
  return { shape: [B, U, E], values: picked };
}

/** `kept`, shifted by one and led by [CLS], as `vision_feature_select_strategy: full` counts. */
function withCls({ shape: [B, U], values }: StoredTensor): StoredTensor {
  const rows = Array.from({ length: B }, (_, b) =>
    [0, ...values.slice(b * U, (b + 1) * U)].map((x, i) => x + +(i > 0)),
  );
  return { shape: [B, U + 1], values: Int32Array.from(rows.flat()) };
}

const fromInputs = (dir: string) => ['--model', dir, '--inputs', path.join(dir, 'expected.safetensors')];

interface Case {
  dir: string;
  K: number;
  U: number;
  positions?: 'contiguous' | 'original';
  keepsCls?: boolean;
}

async function compareCompressed({ dir, K, U, positions, keepsCls }: Case): Promise<void> {
  const args = ['--method', 'vtc-cls', '--layers', `${K}`, '--keep', `${U}`, '--new-tokens', '12'];
  if (positions) args.push('--positions', positions);
  const [actual, expected] = await Promise.all([
    trace(...fromInputs(dir), ...args),
    readTensors(path.join(dir, 'expected.safetensors')),
  ]);
  const vision = expected.names.filter((name) => name.startsWith('vision.'));
  expect(vision.length).toBeGreaterThan(4);
  for (const name of vision) expectSame(actual.get(name), expected.get(name), name);

  const name = `vtc-cls.k${K}.u${U}`;
  const kept = expected.get(`${name}.kept`);
  const how = expected.names.includes(`${name}.logits`) ? name : `${name}.${positions ?? 'contiguous'}`;
  expectSame(actual.get('compress.scores'), expected.get(`${name}.scores`), 'compress.scores');
  expectSame(actual.get('compress.kept'), kept, 'compress.kept');
  const projected = pickRows(expected.get('projector.output'), keepsCls ? withCls(kept) : kept);
  expectSame(actual.get('projector.output'), projected, 'projector.output');
  expectSame(actual.get('decoder.logits'), expected.get(`${how}.logits`), 'decoder.logits');
  expectSame(actual.get('generate.tokens'), expected.get(`${how}.tokens`), 'generate.tokens');
}

async function compareFull(dir: string): Promise<void> {
  const [actual, expected] = await Promise.all([
    trace(...fromInputs(dir), '--method', 'none', '--new-tokens', '12'),
    readTensors(path.join(dir, 'expected.safetensors')),
  ]);
  const compared = expected.names.filter((name) => /^(vision|projector|decoder)\./.test(name));
  for (const name of compared) expectSame(actual.get(name), expected.get(name), name);
  for (const part of ['hidden', 'attention']) {
    const mine = actual.names.filter((name) => name.startsWith(`decoder.${part}.`));
    expect(mine).toEqual(expected.names.filter((name) => name.startsWith(`decoder.${part}.`)).sort());
  }
  expectSame(actual.get('generate.tokens'), expected.get('full.tokens'), 'generate.tokens');
}

describe.concurrent('trace of the golden folders', () => {
  test.each<Case>([
    { dir: golden('llava-v5keys'), K: 3, U: 6 },
    { dir: golden('llava-v5keys'), K: 1, U: 1, positions: 'original' },
    { dir: golden('llava-full-llama3'), K: 1, U: 4, positions: 'original', keepsCls: true },
    { dir: golden('llava-layers'), K: 3, U: 5, positions: 'contiguous' },
  ])('vtc-cls on %o', compareCompressed);

  test('method none', () => compareFull(golden('llava-full-llama3')));

  test('a CLIP tower alone', async () => {
    const dir = golden('clip-model');
    const actual = await trace(...fromInputs(dir));
    const expected = await readTensors(path.join(dir, 'expected.safetensors'));
    const names = expected.names.filter((name) => name.startsWith('vision.'));
    expect(actual.names.filter((name) => name !== 'vision.pixels').sort()).toEqual(names.sort());
    for (const name of names) expectSame(actual.get(name), expected.get(name), name);
  });

  test('a LLaMA alone, from a file and from --ids', async () => {
    const dir = golden('llama-rope3');
    const expected = await readTensors(path.join(dir, 'expected.safetensors'));
    const names = expected.names.filter((name) => name.startsWith('decoder.'));
    const ids = ['--ids', [...expected.get('input_ids').values].join(',')];
    const [fromFile, fromIds] = await Promise.all([
      trace(...fromInputs(dir), '--new-tokens', '12'),
      trace('--model', dir, ...ids),
    ]);
    for (const name of names) {
      expectSame(fromFile.get(name), expected.get(name), name);
      expectSame(fromIds.get(name), expected.get(name), name);
    }
    expectSame(fromFile.get('generate.tokens'), expected.get('full.tokens'), 'generate.tokens');
    expect(fromIds.names).not.toContain('generate.tokens');
  });
});

describe.concurrent('trace of the shared fixtures', () => {
  test('llava-basic, three layers, 9 patches', async (context) => {
    context.skip(!hasFixtures, noFixtures);
    await compareCompressed({ dir: fixture('llava-basic'), K: 3, U: 9 });
  });

  test('llava-sharded-bf16, three layers, 4 patches', async (context) => {
    context.skip(!hasFixtures, noFixtures);
    await compareCompressed({ dir: fixture('llava-sharded-bf16'), K: 3, U: 4 });
  });

  test('llava-basic, method none', async (context) => {
    context.skip(!hasFixtures, noFixtures);
    await compareFull(fixture('llava-basic'));
  });

  test('a picture file becomes the pixels of the image processor; the image token may stand once or P times', async (context) => {
    context.skip(!hasFixtures, noFixtures);
    const picture = ['--model', fixture('llava-basic'), '--image', fixture('preprocess', 'tall.png')];
    const [once, often] = await Promise.all([
      trace(...picture, '--ids', '1,299,5', '--new-tokens', '3'),
      trace(...picture, '--ids', `1,${'299,'.repeat(36)}5`, '--new-tokens', '3'),
    ]);
    expect(often.names).toEqual(once.names);
    for (const name of once.names) expect(often.get(name), name).toEqual(once.get(name));

    const expected = (await readTensors(fixture('preprocess', 'expected.safetensors'))).get('tall.48');
    const S = 48;
    const pixels = Float32Array.from({ length: S * S * 3 }, (_, i) => {
      return expected.values[(i % 3) * S * S + Math.floor(i / 3)]; // [3, S, S] → [S, S, 3]
    });
    const actual = once.get('vision.pixels');
    expect(actual.shape).toEqual([1, S, S, 3]);
    const ulp = 2 ** -22; // of values between 2 and 4
    expect(Math.max(...pixels.map((x, i) => Math.abs(x - actual.values[i])))).toBeLessThanOrEqual(ulp);
  });
});
