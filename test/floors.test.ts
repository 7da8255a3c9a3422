import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = path.join(import.meta.dirname, '..');
const cruise = path.join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');

/** Runs the import rules over a folder's `src`. */
async function checkFloors(cwd: string): Promise<{ code: number; output: string }> {
  const config = path.join(cwd, '.dependency-cruiser.cjs');
  return promisify(execFile)(process.execPath, [cruise, '--config', config, 'src'], { cwd }).then(
    ({ stdout, stderr }) => ({ code: 0, output: stdout + stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      output: error.stdout + error.stderr,
    }),
  );
}

describe('the import rules', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'vtc-cls-floors-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  /** A small house of the given files, each with its lines. */
  async function plant(files: Record<string, string>): Promise<{ code: number; output: string }> {
    await rm(path.join(folder, 'src'), { recursive: true, force: true });
    for (const name of ['.dependency-cruiser.cjs', 'tsconfig.json']) {
      await cp(path.join(root, name), path.join(folder, name));
    }
    for (const [name, text] of Object.entries(files)) {
      await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
      await writeFile(path.join(folder, name), text);
    }
    return checkFloors(folder);
  }

  test('hold in this project', async () => {
    expect(await checkFloors(root)).toMatchObject({ code: 0 });
  });

  test('let a room import from below', async () => {
    const result = await plant({
      'src/tensor/a.ts': 'export const a = 1;',
      'src/story.ts': "import { a } from './tensor/a.ts';\nexport const b = a;",
    });
    expect(result).toMatchObject({ code: 0 });
  });

  /** Each with two or fewer files that no other has, so that one look at one house finds all. */
  const wrong: [what: string, files: Record<string, string>, rule: string][] = [
    [
      'an upward arrow',
      {
        'src/tensor/up.ts': "import { b } from '../story.ts';\nexport const a = b;",
        'src/story.ts': 'export const b = 1;\nexport type B = 1;',
      },
      'tensor-floor-imports-upward: src/tensor/up.ts → src/story.ts',
    ],
    [
      'an upward arrow for a type alone',
      { 'src/tensor/type.ts': "import type { B } from '../story.ts';\nexport type A = B;" },
      'tensor-floor-imports-upward: src/tensor/type.ts → src/story.ts',
    ],
    [
      'a sideways arrow',
      {
        'src/vision/a.ts': "import { b } from '../decoder/b.ts';\nexport const a = b;",
        'src/decoder/b.ts': 'export const b = 1;',
      },
      'vision-imports-sideways: src/vision/a.ts → src/decoder/b.ts',
    ],
    [
      'a circle inside a room',
      {
        'src/io/a.ts': "import { b } from './b.ts';\nexport const a = () => b;",
        'src/io/b.ts': "import { a } from './a.ts';\nexport const b = () => a;",
      },
      'no-circle: src/io/a.ts',
    ],
    [
      'Node in tensor/',
      { 'src/tensor/node.ts': "import { cpus } from 'node:os';\nexport const a = cpus;" },
      'tensor-is-free-of-node: src/tensor/node.ts → os',
    ],
    ['a Node built-in in the core', {}, 'core-imports-no-node: src/tensor/node.ts → os'],
    [
      'a type of a Node built-in in the core',
      { 'src/io/type.ts': "import type { Stats } from 'node:fs';\nexport type A = Stats;" },
      'core-imports-no-node: src/io/type.ts → fs',
    ],
    [
      "the Node part's files in the core",
      {
        'src/inputs.ts': "import { b } from './node/b.ts';\nexport const a = b;",
        'src/node/b.ts': "import { cpus } from 'node:os';\nexport const b = cpus;",
      },
      'plan.ts-floor-imports-upward: src/inputs.ts → src/node/b.ts',
    ],
    [
      'a file on no floor',
      { 'src/alone/a.ts': 'export const a = 1;' },
      'every-file-has-a-floor: src/alone/a.ts',
    ],
    [
      'an import from no floor',
      {
        'src/cost.ts': "import { a } from './misc/a.ts';\nexport const b = a;",
        'src/misc/a.ts': 'export const a = 1;',
      },
      'every-file-has-a-floor: src/cost.ts → src/misc/a.ts',
    ],
  ];

  describe('refuse', () => {
    let seen: Awaited<ReturnType<typeof plant>>;
    beforeAll(async () => {
      seen = await plant(Object.assign({}, ...wrong.map(([, files]) => files)) as Record<string, string>);
    });

    test.each(wrong)('%s', (_, __, rule) => {
      expect(seen.output).toContain(`error ${rule}`);
      expect(seen.code).not.toBe(0);
    });
  });
});
