/** What a method may do wrong, and the one line that names it. */
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { checked, MethodFault } from '../../src/compress/checked.ts';
import type { Method, Seen, Stages } from '../../src/compress/method.ts';
import { faultOfMethod } from '../../src/compress/method-shape.ts';
import { prepareMethod } from '../../src/compress/prepare.ts';
import { methods } from '../../src/compress/registry.ts';
import type { LayerHook, LayerView } from '../../src/decoder/state.ts';
import { UserError } from '../../src/errors.ts';
import type { TowerCut } from '../../src/vision/tower.ts';
import { keepToken, matrixOf, meanOf, picking } from '../../src/tensor/token-matrix.ts';
import { describeEachBackend } from '../support/backends.ts';
import { seenOf, sourceOf } from '../support/methods.ts';
import { refusal } from '../support/refusal.ts';
import { tidyEachTest } from '../support/random.ts';

const [B, P, U] = [2, 4, 2];
const right = picking([[0, 1], [2, 3]], P); // prettier-ignore
const scores = [Float32Array.of(4, 3, 2, 1), Float32Array.of(1, 2, 3, 4)];

const methodOf = (stages: Stages, more: Partial<Method> = {}): Method => ({
  name: 'mine',
  paper: 'none',
  summary: 'a method',
  stages: [stages.between ? 'between' : stages.inTower ? 'tower' : 'before'],
  defaults: {},
  help: {},
  prepare: () => stages,
  ...more,
});
const choosing = (choose: (seen: Seen) => unknown, more: Partial<Method> = {}) =>
  methodOf({ choose: choose as Stages['choose'], needs: { keys: [2] } }, more);

/** What comes of a method on two pictures of four patches. */
async function run(method: Method) {
  const F = tf.zeros<tf.Rank.R3>([B, P, 3]);
  const { choose } = prepareMethod(checked(method, './mine.ts'), sourceOf({ patches: P }), U);
  return choose!(seenOf(F, { keys: new Map([[2, tf.zeros<tf.Rank.R4>([B, 1, P + 1, 3])]]) }));
}

const broken = (W: Record<string, unknown>) => () => ({ W: { ...right, ...W } });
const rowsOf = (rows: ReadonlyMap<number, number>[]) => () => ({ W: matrixOf([rows, rows], P) });
const keptOf =
  (first: number[], second = [0, 1]) =>
  () => ({
    W: matrixOf([first.map(keepToken), second.map(keepToken)], P),
  });
const wrong: [what: string, message: string, choose: (seen: Seen) => unknown, more?: Partial<Method>][] = [
  ['nothing', 'choose returned undefined, should be { W } or { W, scores }', () => undefined],
  ['no W', 'choose gave no W: picking(kept, P) or matrixOf(rows, P) makes one', () => ({ scores })],
  [
    'a tensor',
    'choose gave a tensor as W, should be a TokenMatrix: picking(kept, P) or matrixOf(rows, P) makes one',
    () => ({ W: tf.zeros([B, U, P]) }),
  ],
  ['too few', 'choose kept 1 patch of picture 0, should be 2', () => ({ W: picking([[0], [1]], P) })],
  ['too many', 'choose kept 3 patches of picture 0, should be 2', keptOf([0, 1, 2], [0, 1, 2])],
  ['too few with [CLS]', 'choose kept 2 patches of picture 0, should be 1', () => ({ W: right, cls: true })],
  ['out of order', 'choose kept patch 3 of picture 0 before 1: raster order is ascending', keptOf([3, 1])],
  ['twice', 'choose kept patch 1 of picture 1 twice', keptOf([0, 1], [1, 1])],
  ['too high', 'choose kept patch 4 of picture 1, but they are 0 to 3', keptOf([0, 1], [0, 4])],
  ['below 0', 'choose kept patch -1 of picture 0, but they are 0 to 3', keptOf([-1, 1])],
  ['no number', 'choose kept patch NaN of picture 0, but they are 0 to 3', keptOf([NaN, 1])],
  ['other pictures', 'choose gave a W of 1 pictures, should be 2', () => ({ W: picking([[0, 1]], P) })],
  ['other columns', 'choose gave a W over 5 patches, should be 4', () => ({ W: picking([[0, 1], [0, 1]], 5) })], // prettier-ignore
  ['another shape', 'choose gave a W whose shape is [2,9,4], not [2,2,4]', broken({ shape: [2, 9, 4] })],
  [
    'tokens unsaid',
    'choose made row 1 of picture 0 of 2 patches, but the method does not say makesTokens: true',
    rowsOf([keepToken(0), meanOf([1, 2])]),
  ],
  [
    'a weight unsaid',
    'choose made row 0 of picture 0 of one patch with the weight 0.5, but the method does not say makesTokens: true',
    rowsOf([new Map([[0, 0.5]]), keepToken(1)]),
  ],
  ['a weight of NaN', 'choose gave patch 2 the weight NaN in row 1 of picture 0', rowsOf([keepToken(0), new Map([[2, NaN]])]), { makesTokens: true }], // prettier-ignore
  ['a row of nothing', 'choose named no patch in row 0 of picture 0', rowsOf([new Map(), keepToken(1)]), { makesTokens: true }], // prettier-ignore
  ['a weight elsewhere', 'choose named patch 7, but they are 0 to 3, in row 0 of picture 0', rowsOf([new Map([[7, 0.5]]), keepToken(1)]), { makesTokens: true }], // prettier-ignore
  ['unequal rows', 'choose made 1 tokens of picture 1, should be 2', broken({ rows: [right.rows[0], [meanOf([0, 1])]] }), { makesTokens: true }], // prettier-ignore
  ['scores of NaN', 'choose gave patch 1 of picture 1 the score NaN', () => ({ W: right, scores: [scores[0], [0, NaN, 0, 0]] })], // prettier-ignore
  ['infinite scores', 'choose gave patch 0 of picture 0 the score Infinity', () => ({ W: right, scores: [[Infinity, 0, 0, 0], scores[0]] })], // prettier-ignore
  ['few scores', 'choose gave 3 scores of picture 0, should be 4', () => ({ W: right, scores: [[1, 2, 3], scores[0]] })], // prettier-ignore
  [
    'other scores',
    'choose gave scores of 1 pictures, should be 2',
    () => ({ W: right, scores: [scores[0]] }),
  ],
  ['scores in a tensor', 'choose gave scores as a tensor, should be an array of each picture', () => ({ W: right, scores: tf.zeros([B, P]) })], // prettier-ignore
  ['tensors left', 'choose left 2 tensors in memory: tf.tidy frees them', ({ F }) => (tf.sum(tf.neg(F)), { W: right })], // prettier-ignore
  ['F disposed', 'choose disposed F, which was not its own', ({ F }) => (F.dispose(), { W: right })],
  ['keys disposed', 'choose disposed keys of layer 2, which was not its own', ({ keys }) => (keys.get(2)!.dispose(), { W: right })], // prettier-ignore
  ['keys taken out', 'choose changed keys, which was only to be looked at', ({ keys }) => (keys.clear(), { W: right })], // prettier-ignore
];

describeEachBackend('a method that is checked', () => {
  tidyEachTest();

  test.each(wrong)('%s: %s', async (_, message, choose, more) => {
    const told = await run(choosing(choose, more)).catch((error: unknown) => error);
    expect(told).toBeInstanceOf(MethodFault);
    expect((told as MethodFault).message).toBe(`./mine.ts: ${message}`);
  });

  test('what throws is told by its first line, and where; what refuses stays a refusal', async () => {
    const thrown = await refusal(run(choosing(() => { throw new TypeError('no such thing\nat all'); }))); // prettier-ignore
    expect(thrown).toBe('./mine.ts: choose throws TypeError: no such thing');
    const refused = await run(choosing(() => { throw new UserError('mine: too few'); })).catch((e: unknown) => e); // prettier-ignore
    expect(refused).toEqual(new UserError('./mine.ts: mine: too few'));
    expect(refused).not.toBeInstanceOf(MethodFault);
  });

  test('a right one runs and leaves what it gave', async () => {
    const before = tf.memory().numTensors;
    expect(await run(choosing(({ F }) => (tf.tidy(() => void tf.neg(F)), { W: right, scores })))).toEqual({
      ...{ W: right, scores },
    });
    expect(tf.memory().numTensors - before).toBe(2); // F and the keys
  });

  test('inside the tower: U tokens are left after the selected layer', async () => {
    const cut = async (layer: number, W: unknown) => {
      const stages = { inTower: () => W } as unknown as Stages;
      const { inTower } = prepareMethod(checked(methodOf(stages), './mine.ts'), sourceOf({ patches: P }), U);
      const sizes = Array.from({ length: B }, () => Array<number>(1 + P).fill(1));
      return (inTower as TowerCut)(layer, { keys: tf.zeros([B, 1, 1 + P, 3]), sizes });
    };
    expect(await cut(1, undefined)).toBeUndefined();
    expect(await cut(2, right)).toBe(right);
    expect(await refusal(cut(2, undefined).then())).toBe(
      './mine.ts: inTower, in layer 2, leaves 4 patches, should be 2',
    );
    expect(await refusal(cut(0, picking([[0], [1]], 3)).then())).toBe(
      './mine.ts: inTower, in layer 0, gave a W over 3 patches, should be 4',
    );
  });

  const roles = Array.from({ length: B }, () => ['text', 'image', 'image', 'image', 'text'] as const);
  const view = (): LayerView => ({
    hidden: tf.zeros([B, 5, 3]),
    positions: tf.zeros([B, 5], 'int32'),
    roles: roles.map((row) => [...row]),
    attendFromLast: () => tf.zeros([B, 1, 5]),
  });
  const hookOf = (hook: unknown) =>
    prepareMethod(
      checked(methodOf({ between: () => hook as LayerHook }), './mine.ts'),
      sourceOf({ patches: 3 }),
      U,
    ).between!();

  test.each<[string, (view: LayerView) => unknown]>([
    ['gave a W over 5 image tokens, should be 3', () => picking([[0, 1], [0, 1]], 5)], // prettier-ignore
    ['kept image token 3 of picture 0, but they are 0 to 2', () => picking([[0, 3], [0, 1]], 3)], // prettier-ignore
    ['kept image token 2 of picture 1 before 0: raster order is ascending', () => matrixOf([[0, 1], [2, 0]].map((row) => row.map(keepToken)), 3)], // prettier-ignore
    ['left 1 tensor in memory: tf.tidy frees them', ({ attendFromLast }) => void attendFromLast()],
    ['disposed hidden, which was not its own', ({ hidden }) => hidden.dispose()],
    ['changed roles, which was only to be looked at', ({ roles: [row] }) => void row.reverse().sort()],
    ['throws Error: no', () => { throw new Error('no'); }], // prettier-ignore
  ])('between layers: cut %s', async (message, cut) => {
    const told = refusal(Promise.resolve(hookOf({ cut: (_: number, shown: LayerView) => cut(shown) }).cut!(2, view()))); // prettier-ignore
    expect(await told).toBe(`./mine.ts: cut, before layer 2, ${message}`);
  });

  test.each<[string, unknown]>([
    ['returned 3, should be { places }', 3],
    ['gave no places of each of 2 items', { places: [[0, 4]] }],
    ['gave 3 places of item 1, 2 of item 0', { places: [[0, 4], [0, 2, 4]] }], // prettier-ignore
    ['gave place 5 of item 1: places are 0 to 4, ascending', { places: [[0, 4], [0, 5]] }], // prettier-ignore
    ['gave place 0 of item 0: places are 0 to 4, ascending', { places: [[4, 0], [0, 4]] }], // prettier-ignore
    ['lets the text at place 4 of item 1 pass by', { places: [[0, 4], [0, 1]] }], // prettier-ignore
  ])('between layers: who goes through %s', async (message, pass) => {
    const told = refusal(Promise.resolve(hookOf({ through: () => pass }).through!(2, view())));
    expect(await told).toBe(`./mine.ts: through, before layer 2, ${message}`);
  });

  test('between layers: what is withheld is of those that go through, and handed over', async () => {
    const places = [[0, 1, 4], [0, 3, 4]]; // prettier-ignore
    const passOf = (shape: number[]) =>
      Promise.resolve(hookOf({ through: () => ({ places, withheld: tf.zeros(shape) }) }).through!(2, view()));
    expect((await passOf([B, 3, 1]))?.places).toBe(places);
    expect(await refusal(passOf([B, 5, 1]))).toBe(
      './mine.ts: through, before layer 2, gave withheld of the shape [2, 5, 1], should be [2, 3, 1]',
    );
  });

  test('between layers: limits have the shapes they are broadcast to', () => {
    const limit = (limits: unknown) =>
      hookOf({ limit: () => limits }).limit!(1, view(), 0, { heads: 4, neurons: 6 });
    expect(() => limit({ mask: tf.zeros([1, 1, 5, 5]), heads: tf.ones([B, 4, 5, 1]) })).not.toThrow();
    expect(() => limit({ mask: tf.zeros([1, 1, 5, 6]) })).toThrow(
      './mine.ts: limit gave mask of the shape [1, 1, 5, 6], should be [2, 4, 5, 5] or 1 in places, in layer 1',
    );
    expect(() => limit({ neurons: 3 })).toThrow('limit gave neurons as no tensor, should be [2, 5, 6]');
    expect(() => hookOf(undefined)).toThrow(
      'between returned undefined, should be an object with cut, through or limit',
    );
  });
});

test.each<[string, unknown]>([
  ['prepare throws Error: no', () => { throw new Error('no'); }], // prettier-ignore
  ['prepare throws TypeError: Cannot assign to read only property', (source: { patches: number }) => { source.patches = 1; }], // prettier-ignore
  ['prepare returned undefined, should be an object with what happens at its stages', () => undefined],
  ['prepare gave no choose, but the method\'s stage is before', () => ({})], // prettier-ignore
  ['prepare gave between, but the method\'s stages are before', () => ({ between: () => ({}) })], // prettier-ignore
  ['prepare gave 3 as choose, should be a function', () => ({ choose: 3 })],
  ['prepare needs keys of layer 3, but the tower has layers 0 to 2', () => ({ choose: () => 0, needs: { keys: [3] } })], // prettier-ignore
  ['prepare needs values, but a tower shows clsAttention, attention, keys, hidden', () => ({ choose: () => 0, needs: { values: [0] } })], // prettier-ignore
  ['prepare needs 2 of keys, should be a list of layers', () => ({ choose: () => 0, needs: { keys: 2 } })],
])('%s', (message, prepare) => {
  const method = methodOf({}, { prepare: prepare as Method['prepare'] });
  expect(() => prepareMethod(checked(method, './mine.ts'), sourceOf({ patches: P }), U)).toThrow(
    `./mine.ts: ${message}`,
  );
});

test.each<[string, unknown]>([
  ['prepare gave 3 as inTower, should be a function or { grid }, patches a side', 3],
  ['prepare gave {"grid":1.5} as inTower, should be a function or { grid }, patches a side', { grid: 1.5 }],
  ['prepare gave a picture of 2 × 2 patches as inTower, should be 2 patches', { grid: 2 }],
])('%s', (message, inTower) => {
  const method = methodOf({}, { stages: ['tower'], prepare: () => ({ inTower }) as Stages });
  expect(() => prepareMethod(checked(method, './mine.ts'), sourceOf({ patches: P }), U)).toThrow(
    new MethodFault(`./mine.ts: ${message}`, 'choice'),
  );
});

test.each<[string, unknown]>([
  ['prepare gave a function as output, should be { id, count, read, write }', () => 0],
  ['prepare gave {"id":3,"count":4} as output, should be { id, count, read, write }', { id: 3, count: 4 }],
])('%s', (message, output) => {
  const method = methodOf({}, { stages: ['output'], prepare: () => ({ output }) as Stages });
  expect(() => prepareMethod(checked(method, './mine.ts'), sourceOf({ patches: P }), U)).toThrow(
    new MethodFault(`./mine.ts: ${message}`, 'choice'),
  );
});

test.each<[string, unknown]>([
  ['exports 3, should be a method: { name, paper, summary, … }', 3],
  ['exports a function, should be a method: { name, paper, summary, … }', () => 0],
  ['exports a method without name, which should be letters, digits, points and hyphens', {}],
  ['whose name is "a,b", should be letters', { name: 'a,b' }],
  ['without summary, which should be a text', { summary: undefined }],
  ['whose stages is ["after"], should be a list of tower, before, between, output', { stages: ['after'] }],
  ['whose makesTokens is 1, should be true, false or absent', { makesTokens: 1 }],
  ['whose adds is [1], should be a list of words or absent', { adds: [1] }],
  ['without defaults, which should be an object of numbers and texts', { defaults: undefined }],
  ['whose defaults is {"k":[1]}, should be an object of numbers and texts', { defaults: { k: [1] } }],
  ["whose option k has no help: { text: '…' }", { defaults: { k: 1 }, help: {} }],
  ['whose help explains k, which is not among its defaults', { help: { k: { text: 'k' } } }],
  ['whose option k is "a" by default, which is not among its choices', { defaults: { k: 'a' }, help: { k: { text: 'k', choices: ['b'] } } }], // prettier-ignore
  ['with an option positions', { defaults: { positions: 'a' }, help: { positions: { text: 'p' } } }],
  ['without prepare, which should be a function', { prepare: undefined }],
])('%s', (message, fields) => {
  const whole = typeof fields === 'object' && Object.keys(fields as object).length > 0;
  expect(faultOfMethod(whole ? { ...methodOf({}), ...(fields as object) } : fields)).toContain(message);
});

test('nothing is wrong with the methods there are', () => {
  for (const method of methods) expect(faultOfMethod(method)).toBeUndefined();
});
