/** A user's own method in a file: where it may lie, what it may be written in, and that it is of the package that runs. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { filesIn } from '../../src/node/method-file.ts';
import {
  expectRefusal,
  listFiles,
  makeDemoFiles,
  makeFileFolder,
  vtc,
  vtcFromSource,
  vtcOk,
} from '../support/cli.ts';

const folder = await makeFileFolder(); // there is no node_modules above it
const { model, scene } = await makeDemoFiles(folder);
const source = await readFile(path.join(import.meta.dirname, '../fixtures/odd-keys.ts'), 'utf8');
const plain = source
  .replace(', type Method', '')
  .replace(' satisfies Method<{ layer: number }>', '')
  .replace('split<tf.Tensor3D>', 'split')
  .replace(')!, 1)', '), 1)');

/** Writes a file into the folder. @returns its path */
async function put(name: string, text: string): Promise<string> {
  const file = path.join(folder, name);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, text);
  return file;
}

const ask = (method: string, ...args: string[]) =>
  ['run', '--model', model, '--image', scene, '--question', 'What?', '--new-tokens', '1', '--keep', '9', '--json', '--backend', 'wasm', '--method', method, ...args]; // prettier-ignore
interface Told {
  method: string;
  options: object;
  kept?: number[];
  layerTokens: number[];
}
const run = async (method: string, ...args: string[]) =>
  JSON.parse(await vtcOk(...ask(method, ...args))) as Told;

const mine = await put('mine.ts', source);
const expected = await run(mine);

test('its own name is the label, and what it keeps is kept', () => {
  expect(expected).toMatchObject({ method: 'odd-keys', options: { layer: 0 } });
  expect(expected.kept).toHaveLength(9);
});

test.each([
  ['mine.mts', source],
  ['mine.mjs', plain],
  ['mine.js', plain],
  ['node_modules/somebody/mine.ts', source],
  ['named.ts', source.replace('export default', 'export const oddKeys =')],
  ['c++/mine.ts', source],
])('%s is the same method', async (name, text) => {
  expect(await run(await put(name, text))).toEqual({ ...expected, steps: expect.anything() as unknown });
});

test('it takes options, and stands in a stack before or behind another', async () => {
  expect((await run(`${mine}:layer=2`)).options).toEqual({ layer: 2 });
  expect((await run(mine, '-o', 'layer=2')).kept).toEqual((await run(`${mine}:layer=2`)).kept);
  const { method, layerTokens } = await run(`${mine}+fastv`);
  expect(method).toBe('odd-keys+fastv');
  expect(layerTokens[0] - layerTokens[3]).toBe(36 - 9); // 144 → 36 → 9
  expectRefusal(
    await vtc(...ask(`${mine}:layers=2`)),
    'method odd-keys has no option "layers" (its options: layer)',
  );
  expectRefusal(
    await vtc(...ask(`vtc-cls+${mine}`)),
    /^vtc-cls\+odd-keys: vtc-cls and odd-keys both act before/,
  );
});

test('tf, and all else, are those of the package that runs', async () => {
  const file = await put(
    'engine.ts',
    `import * as core from 'vtc-cls';
    import * as node from 'vtc-cls/node';
    import * as engine from '@tensorflow/tfjs-core';
    import { helper } from './helper.ts';
    const { tf, UserError, vtcCls } = core;
    export default { ...vtcCls, name: 'engine', prepare(...all: Parameters<typeof vtcCls.prepare>) {
      const same = [tf === node.tf, tf.Tensor === engine.Tensor, UserError === node.UserError].join();
      if (helper) throw new UserError(\`\${tf.getBackend()} \${same}\`);
      return vtcCls.prepare(...all);
    } } satisfies typeof vtcCls;`,
  );
  await put('helper.ts', 'export const helper: boolean = true;');
  expectRefusal(await vtc(...ask(file, '--backend', 'cpu')), `${file}: cpu true,true,true`);
  expectRefusal(await vtcFromSource(...ask(file, '--backend', 'cpu')), `${file}: cpu true,true,true`);
});

test('from a checkout it is the same', async () => {
  const { code, stdout, stderr } = await vtcFromSource(...ask(mine));
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect((JSON.parse(stdout) as Told).kept).toEqual(expected.kept);
});

test('an edited file, or one that it imports, answers anew; what it was before stays', async () => {
  const file = await put(
    'edited.ts',
    source.replace("from 'vtc-cls';", "from 'vtc-cls';\nimport './beside.ts';"),
  );
  await put('beside.ts', 'export {};');
  const out = path.join(folder, 'eval');
  const evaluate = () =>
    vtcOk(
      'eval',
      '--backend',
      'wasm',
      '--count',
      '2',
      '--keep',
      '9',
      '--methods',
      file,
      '--out',
      out,
      '--new-tokens',
      '1',
    );
  const cells = async () =>
    (await listFiles(path.join(out, 'cells'))).filter((name) => name.startsWith('odd-keys'));
  const first = await evaluate();
  expect(first).toMatch(/^\| odd-keys +\|/m);
  const [one] = await cells();
  expect(one).toMatch(/^odd-keys\.[\da-f]{8}@9\.json$/);
  await evaluate();
  expect(await cells()).toEqual([one]);
  await put('beside.ts', 'export {}; // edited');
  await evaluate();
  expect(await cells()).toHaveLength(2);
});

test.each([
  ['./mine.ts', ['./mine.ts']],
  ['mine.mjs:layers=1', ['mine.mjs']],
  ['vtc-cls:layers=1', []],
  ['prumerge++fastv', []],
  ['vtc-cls+./a/b.ts+/c/d.js', ['./a/b.ts', '/c/d.js']],
  ['/c++/d.ts+e.mts', ['/c++/d.ts', 'e.mts']],
  ['../mine', ['../mine']],
  ['a.json', []],
])('%s names %j', (name, files) => {
  expect(filesIn(name)).toEqual(files);
});

test.each([
  ['absent.ts', undefined, (file: string) => `cannot read ${file}: there is no such file or folder`],
  ['broken.ts', 'export default {', /broken\.ts cannot be loaded: \S.*/],
  [
    'enum.ts',
    'enum A { B }\nexport default A;',
    /enum\.ts cannot be loaded: .*enum is not supported in strip-only mode, in line 1$/,
  ],
  ['thrown.ts', '\n\nthrow new Error("one\\ntwo");', /thrown\.ts cannot be loaded: Error: one \(line 3\)$/],
  ['import.ts', 'import "nowhere";', /import\.ts cannot be loaded: Error: Cannot find package 'nowhere'/],
  ['nothing.ts', 'export const a = 1;', /nothing\.ts: exports no method: export default \{ name/],
  [
    'two.ts',
    'export const a = { prepare() {} }, b = { prepare() {} };',
    /two\.ts: exports 2 methods, a and b: make/,
  ],
  ['three.ts', 'export default 3;', /three\.ts: exports 3, should be a method/],
  [
    'taken.ts',
    source.replace("'odd-keys',", "'vtc-cls',"),
    /taken\.ts: its method is called vtc-cls, which is taken/,
  ],
] as [string, string | undefined, RegExp | ((file: string) => string)][])(
  '%s is refused',
  async (name, text, message) => {
    const file = path.join(folder, name);
    if (text !== undefined) await put(name, text);
    expectRefusal(await vtc(...ask(file)), typeof message === 'function' ? message(file) : message);
  },
);

test('a path without a known ending is refused as one, and a fault ends a comparison', async () => {
  expectRefusal(await vtc(...ask('./mine')), './mine: the file of a method ends in .ts, .mts, .js or .mjs');
  const file = await put('short.ts', source.replace('keepBest(s, budget)', 'keepBest(s, budget - 1)'));
  const sheet = path.join(folder, 'sheet.png');
  const args = [
    '--backend',
    'wasm',
    '--model',
    model,
    '--image',
    scene,
    '--question',
    'What?',
    '--keep',
    '9',
    '--out',
    sheet,
  ];
  expectRefusal(await vtc('compare', ...args, '--methods', `none,${file}`), `${file}: choose kept 8 patches of picture 0, should be 9`); // prettier-ignore
  expect(await listFiles(folder)).not.toContain('sheet.png');
  expect(await vtcOk('compare', ...args, '--methods', `none,${mine}`)).toContain('\nodd-keys ');
});
