/** Every chapter and every solution runs, prints what stands in it, and leaves no tensor. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { chapters } from '../../src/study/chapters.ts';
import { study } from '../../src/study/study.ts';
import { full } from '../support/full.ts';

const root = path.join(import.meta.dirname, '..', '..');
const folder = path.join(root, 'src', 'study');
const numbered = (dir: string) =>
  readdirSync(dir)
    .filter((file) => /^\d\d/.test(file))
    .sort()
    .map((file) => path.join(dir, file));
const [files, solutions] = [numbered(folder), numbered(path.join(folder, 'solutions'))];

/** What stands in a file after `//>`: what it prints, line by line. */
const promised = (file: string): string[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => /^\s*\/\/> ?(.*)$/.exec(line)?.slice(1) ?? []);

/** What the study prints. */
async function printed(...args: string[]): Promise<string[]> {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  await study(args);
  return log.mock.calls.flatMap((line) => line.join(' ').split('\n'));
}

afterEach(() => vi.restoreAllMocks());

describe('the chapters', () => {
  beforeAll(() => import('../../src/study/desk.ts')); // the model stays

  test('are ten, each a file and its solutions', () => {
    expect(chapters).toHaveLength(10);
    expect(files).toHaveLength(10);
    expect(solutions).toHaveLength(10);
  });

  /** Those that hold an exam of 57 questions, several times over. */
  const long = [8, 10];
  if (!full) console.warn(`skipping chapters ${long.join(' and ')}: npm run test:full runs them`);
  const named = files.map((file, i) => [path.basename(file), i] as const);
  test.each(named.filter(([, i]) => full || !long.includes(i + 1)))(
    '%s is what its file says',
    async (_, i) => {
      const before = tf.memory().numTensors;
      const lines = await printed(String(i + 1));
      expect(lines.length).toBeGreaterThan(0);
      expect(lines).toEqual(promised(files[i]));
      expect(tf.memory().numTensors).toBe(before);
    },
  );

  if (!full) console.warn('skipping the solutions of the exercises: npm run test:full runs them');
  test.skipIf(!full).each(solutions.map((_, i) => [i + 1] as const))(
    'the solutions of %i are what their file says',
    async (n) => {
      const before = tf.memory().numTensors;
      const lines = await printed(String(n), 'solutions');
      expect(lines.filter((line) => line.startsWith('✓')).length).toBeGreaterThan(0);
      expect(lines).toEqual(promised(solutions[n - 1]));
      expect(tf.memory().numTensors).toBe(before);
    },
  );

  test.each(named)('%s is short, and opens as listed', (_, i) => {
    const text = readFileSync(files[i], 'utf8');
    expect(text.trimEnd().split('\n').length).toBeLessThanOrEqual(80);
    const { title, question } = chapters[i];
    expect(text).toMatch(`/**\n * ${i + 1}. ${title}: ${question}\n`);
    expect(text).toMatch(/^ \* Exercises\n \* 1\. [^]*\n \* 2\. /m);
  });
});

test('a distance is of the largest value, and what differs is told', async () => {
  const { agree, check, distance } = await import('../../src/study/desk.ts');
  vi.spyOn(console, 'log').mockImplementation(() => {});
  expect(await distance([1, 2, 4], [1, 2, 5])).toBe(0.2);
  expect(await distance([1, 2], [1, 2, 3])).toBe(Infinity);
  expect(await distance([1, NaN], [1, 2])).toBeNaN();
  await agree('alike', [1, 2.00001], [1, 2]);
  await expect(agree('x', [1, 2.001], [1, 2])).rejects.toThrow('x: they differ by 0.0005');
  await expect(agree('x', [1, NaN], [1, 2])).rejects.toThrow('x: they differ by NaN');
  expect(() => check('the earth is flat', false)).toThrow('this does not hold: the earth is flat');
});

describe('npm run study', () => {
  const run = (...args: string[]) =>
    promisify(execFile)('npm', ['run', '--silent', 'study', '--', ...args], { cwd: root });

  test('lists the chapters', async () => {
    const { stdout } = await run();
    for (const { title, question } of chapters) {
      expect(stdout).toMatch(`${title} `);
      expect(stdout).toMatch(question);
    }
  });

  test('runs a chapter', async () => {
    expect((await run('3')).stdout.trimEnd().split('\n')).toEqual(promised(files[2]));
  });

  test('refuses what is no chapter in one line, and prints nothing', async () => {
    const failure = await run('11').catch((error: { code: number; stdout: string; stderr: string }) => error);
    expect(failure).toMatchObject({
      code: 1,
      stdout: '',
      stderr: 'error: study 11: is no chapter; give a number from 1 to 10\n',
    });
  });

  test.each([['0'], ['1.5'], ['-1'], ['three'], ['03x'], [''], ['3', 'answers'], ['3', 'solutions', '4']])(
    'refuses %s %s',
    async (...args) => {
      await expect(printed(...args)).rejects.toThrow(UserError);
    },
  );
});
