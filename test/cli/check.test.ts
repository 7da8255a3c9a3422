/** `vtc check`: a method of one's own with each fault that there is, a good one, built-in ones, and cases in JSON. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { methods } from '../../src/compress/registry.ts';
import { methodProperties } from '../../src/testing/method/properties.ts';
import { expectRefusal, makeFileFolder, vtc, vtcOk } from '../support/cli.ts';
import { full } from '../support/full.ts';
import { golden } from '../support/golden.ts';

const folder = await makeFileFolder();
/** How many trials find a fault: a few of the same ones. */
const runs = full ? '12' : '8';
const good = path.join(import.meta.dirname, '../fixtures/odd-keys.ts');

async function put(name: string, text: string): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, text);
  return file;
}

/** A method that keeps the first U patches, but for what is put in its place. */
const methodFile = ({ fields = '', choose = 'return { W: first(B, U, P) };', prepare = '' }) => `
  import { denseOf, matrixOf, picking, tf, UserError } from 'vtc-cls';
  const first = (B, n, P) => picking(Array.from({ length: B }, () => [...Array(n).keys()]), P);
  const rows = (B, U, P, rowOf) => ({ W: matrixOf(Array.from({ length: B }, () => Array.from({ length: U }, (_, u) => rowOf(u))), P) });
  export default {
    name: 'mine', paper: 'none', summary: 'a method', stages: ['before'], defaults: {}, help: {},
    prepare({ patches: P, selectedLayer }, U) {
      ${prepare}
      return { needs: { keys: [selectedLayer] }, choose(seen) { const { B, F, keys } = seen; ${choose} } };
    },
    ${fields}
  };`;

const ones = `const kept = [...Array(U).keys()]`;
const faults: [fault: string, text: string, message: RegExp][] = [
  [
    'throws',
    methodFile({ choose: 'throw new Error("one\\ntwo");' }),
    /: choose throws Error: one \(line \d+\)$/m,
  ],
  ['prepare throws', methodFile({ prepare: 'null.x;' }), /: prepare throws TypeError: Cannot read prop.* \(line 8\)$/m], // prettier-ignore
  ['refuses late', methodFile({ choose: 'throw new UserError("mine: not this one");' }), /too late: .*mine: not this one$/m], // prettier-ignore
  ['scores of NaN', methodFile({ choose: 'return { W: first(B, U, P), scores: Array(B).fill(Float32Array.from({ length: P }, () => NaN)) };' }), /: choose gave patch 0 of picture 0 the score NaN$/m], // prettier-ignore
  ['infinite scores', methodFile({ choose: 'return { W: first(B, U, P), scores: Array(B).fill(Array(P).fill(Infinity)) };' }), /the score Infinity$/m], // prettier-ignore
  ['a weight of NaN', methodFile({ fields: 'makesTokens: true,', choose: 'return rows(B, U, P, (u) => new Map([[u, NaN]]));' }), /: choose gave patch 0 the weight NaN in row 0 of picture 0$/m], // prettier-ignore
  ['out of order', methodFile({ choose: `${ones}.reverse(); return { W: matrixOf(Array.from({ length: B }, () => kept.map((p) => new Map([[p, 1]]))), P) };` }), /: choose kept patch \d of picture 0 before \d: raster order is ascending$/m], // prettier-ignore
  ['twice', methodFile({ choose: 'return rows(B, U, P, () => new Map([[0, 1]]));' }), /: choose kept patch 0 of picture 0 twice$/m], // prettier-ignore
  ['too few', methodFile({ choose: 'return { W: first(B, Math.max(1, U - 1), P) };' }), /: choose kept \d patch(es)? of picture 0, should be \d$/m], // prettier-ignore
  ['too many', methodFile({ choose: 'return { W: first(B, P, P) };' }), /: choose kept \d+ patches of picture 0, should be \d$/m], // prettier-ignore
  ['out of range', methodFile({ choose: 'return rows(B, U, P, (u) => new Map([[P + u, 1]]));' }), /: choose kept patch 1 of picture 0, but they are 0 to 0$/m], // prettier-ignore
  ['another shape of scores', methodFile({ choose: 'return { W: first(B, U, P), scores: Array(B).fill([1]) };' }), /: choose gave 1 scores of picture 0, should be 4$/m], // prettier-ignore
  ['a tensor', methodFile({ choose: 'return { W: denseOf(first(B, U, P)) };' }), /: choose gave a tensor as W, should be a TokenMatrix/m], // prettier-ignore
  ['another shape of W', methodFile({ choose: 'return { W: first(B, U, P + 1) };' }), /: choose gave a W over 2 patches, should be 1$/m], // prettier-ignore
  ['a cut over the text too', methodFile({ fields: `stages: ['between'], prepare: (_, U) => ({ between: () => ({ cut: (l, { roles }) => l === 1 ? first(roles.length, U, roles[0].length) : undefined }) }),` }), /: cut, before layer 1, gave a W over 6 image tokens, should be 1$/m], // prettier-ignore
  ['tensors left', methodFile({ choose: 'tf.neg(F); tf.neg(F); return { W: first(B, U, P) };' }), /: choose left 2 tensors in memory/m], // prettier-ignore
  ['F disposed', methodFile({ choose: 'F.dispose(); return { W: first(B, U, P) };' }), /: choose disposed F, which was not its own$/m], // prettier-ignore
  ['keys changed', methodFile({ choose: 'keys.get(selectedLayer).dataSync()[0] += 1; return { W: first(B, U, P) };' }), /: choose changed keys of layer 2, which was only to be looked at$/m], // prettier-ignore
  ['keys removed', methodFile({ choose: 'keys.clear(); return { W: first(B, U, P) };' }), /: choose changed keys, which was only to be looked at$/m], // prettier-ignore
];

describe.concurrent('a method with a fault', () => {
  test.each(faults)('%s', async (fault, text, message) => {
    const file = await put(`${fault.replaceAll(' ', '-')}.mjs`, text);
    const { code, stdout, stderr } = await vtc('check', file, '--backend', 'cpu', '--runs', runs);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    const line = stdout.split('\n').find((one) => message.test(one));
    expect(line, stdout).toContain(file);
    expect(stdout).toMatch(/smallest input found: 1 picture of \d patch/);
  });

  test.each([
    ['no-export', 'export const a = 1;', 'exports no method: export default { name, paper, summary, … }'],
    ['no-name', methodFile({ fields: 'name: undefined,' }), 'exports a method without name, which should be letters, digits, points and hyphens'], // prettier-ignore
    ['stage', methodFile({ fields: "stages: 'before'," }), 'exports a method whose stages is "before", should be a list of tower, before, between, output'], // prettier-ignore
  ])('%s is refused before anything runs', async (name, text, message) => {
    const file = await put(`${name}.mjs`, text);
    expectRefusal(await vtc('check', file), `${file}: ${message}`);
  });
});

test('a good one passes, every property with its mark', async () => {
  const text = await vtcOk('check', good, '--backend', 'cpu', '--runs', '12');
  expect(text).toBe(`odd-keys\n${methodProperties.map(({ claim }) => `  ✓ ${claim}\n`).join('')}`);
  expect(await vtcOk('check', await put('plain.mjs', methodFile({})), '--runs', '12')).not.toContain('✗');
});

test('all are the built-in methods', async () => {
  const text = await vtcOk('check', 'all', '--backend', 'cpu', '--runs', '1');
  expect(text.match(/^\S+$/gm)).toEqual(methods.map(({ name }) => name));
  expect(text).not.toContain('✗');
});

test('what is no method to check is refused', async () => {
  expectRefusal(await vtc('check'), 'name a method, or give --json with a file of cases');
  expectRefusal(
    await vtc('check', 'vtc-cls', '--json', 'x'),
    'name a method, or give --json with a file of cases',
  );
  expectRefusal(await vtc('check', 'magic'), /^unknown method "magic": choose none or /);
  expectRefusal(await vtc('check', 'vtc-cls+fastv'), 'vtc-cls+fastv: a stack is checked method by method: name one of them'); // prettier-ignore
  expectRefusal(await vtc('check', './a.ts:k=1'), './a.ts:k=1: name one method, without options and without others beside it'); // prettier-ignore
});

test('--json: right cases pass, wrong ones are told with a reason, what is none is refused by its place', async () => {
  const right = await vtcOk('check', '--json', golden('cases.json'));
  expect(right.split('\n').slice(0, 2)).toEqual(['✓ by scores (selection)', '✓ by K layers (selection)']);
  const { code, stdout, stderr } = await vtc('check', '--json', golden('wrong-cases.json'));
  expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
  expect(stdout).toContain('✗ sums (merge)\n    row 0 sums to 2\n    why it matters: a mean of patches');
  const text = await readFile(golden('cases.json'), 'utf8');
  const broken = await put('broken.json', text.replace('"budget": 4', '"budget": "4"'));
  expectRefusal(await vtc('check', '--json', broken), `${broken}: cases[0].budget should be a whole number from 1, is "4"`); // prettier-ignore
  expectRefusal(await vtc('check', '--json', path.join(folder, 'absent.json')), /^cannot read .*absent\.json: there is no such/); // prettier-ignore
});
