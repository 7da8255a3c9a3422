import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { readArchitecture } from '../../src/checkpoint/architecture.ts';
import { createRandom } from '../../src/random.ts';
import { readTokenizer } from '../../src/text/tokenizer.ts';
import { writeRandomLlava } from '../../src/world/random-llava.ts';
import { drawScene } from '../../src/world/simple-scene.ts';
import { listFiles, makeFileFolder, readTensors } from '../support/cli.ts';

const folder = await makeFileFolder();

describe('scenes', () => {
  test('a scene is the same for a seed, another for another, and of its size', async () => {
    const [first, again, other] = await Promise.all(
      [1, 1, 2].map((seed) => drawScene(createRandom(seed), 48)),
    );
    expect([first.width, first.height, first.data.length]).toEqual([48, 48, 48 * 48 * 3]);
    expect(again.data).toEqual(first.data);
    expect(other.data).not.toEqual(first.data);
  });

  test('shapes lie on the ground and inside the picture; without any it is all ground', async () => {
    const ground = [0xe9, 0xe4, 0xd8];
    const empty = await drawScene(createRandom(1), 16, 0);
    expect(empty.data.every((value, i) => value === ground[i % 3])).toBe(true);
    for (let seed = 0; seed < 10; seed++) {
      const { data } = await drawScene(createRandom(seed), 64, 5);
      const isGround = (x: number, y: number) => ground.every((c, i) => data[(y * 64 + x) * 3 + i] === c);
      const covered = Array.from({ length: 64 * 64 }, (_, i) => !isGround(i % 64, Math.floor(i / 64)));
      expect(covered.filter(Boolean).length).toBeGreaterThan(50);
      for (const [x, y] of [
        [0, 0],
        [63, 0],
        [0, 63],
        [63, 63],
      ])
        expect(isGround(x, y)).toBe(true);
    }
  });
});

describe('the random LLaVA', () => {
  const dir = path.join(folder, 'new', 'model');

  test('is a folder whose weights are seeded, and alive', async () => {
    await mkdir(folder, { recursive: true });
    await writeRandomLlava(dir, 3);
    expect(await listFiles(dir)).toEqual(['config.json', 'model.safetensors', 'tokenizer.json']);
    expect((await readArchitecture(dir)).kind).toBe('llava');
    const weights = await readTensors(path.join(dir, 'model.safetensors'));
    for (const name of weights.names) {
      const { shape, values } = weights.get(name);
      const square = Array.from(values).reduce((sum, x) => sum + x * x, 0) / values.length;
      if (name.endsWith('.bias')) expect(square, name).toBe(0);
      else if (shape.length === 1 && /norm/.test(name)) expect(new Set(values), name).toEqual(new Set([1]));
      else if (shape.length === 2 && !/embed/.test(name)) {
        const expected = (/[qk]_proj/.test(name) ? 4 : 1) / shape[1]; // 1/√in, queries and keys twice that
        expect(square / expected, name).toBeGreaterThan(0.9);
        expect(square / expected, name).toBeLessThan(1.1);
      }
    }
  });

  test('its tokenizer spells printable ASCII out and back, and knows the image', async () => {
    const tokenizer = await readTokenizer(dir, 1);
    const printable = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)).join('');
    for (const text of ['What is in the picture?', printable, 'two words']) {
      const ids = tokenizer.encode(text);
      expect(ids).toHaveLength(text.length + 2); // BOS, and the space put in front
      expect(ids).not.toContain(0);
      expect(tokenizer.decode(ids)).toBe(text);
    }
    expect(tokenizer.encode('<image>')).toEqual([1, 3]);
    expect(tokenizer.encode('ä')).toContain(0);
  });
});
