/** What the vision-side methods besides VTC-CLS claim, each claim a property. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chooseByDeterminant, scaleRelevance } from '../../src/compress/cdpruner.ts';
import type { MethodOptions, Seen as Shown } from '../../src/compress/method.ts';
import { prepareMethod } from '../../src/compress/prepare.ts';
import { findMethod, methods } from '../../src/compress/registry.ts';
import { onlyLayer } from '../../src/compress/selected-layer.ts';
import { vtcCls } from '../../src/compress/vtc-cls.ts';
import { UserError } from '../../src/errors.ts';
import { mixTokens } from '../../src/tensor/similarity.ts';
import { checkMerge } from '../../src/testing/merge.ts';
import { assertNone } from '../../src/testing/violation.ts';
import { scoreByCls, topK } from '../reference/compress.ts';
import * as twin from '../reference/field.ts';
import { linear } from '../reference/ops.ts';
import { describeEachBackend } from '../support/backends.ts';
import { runMethod, seenOf, sourceOf } from '../support/methods.ts';
import {
  draw,
  expectEqual,
  expectNear,
  expectNewTensors,
  randoms,
  tidyEachTest,
  type Random,
} from '../support/random.ts';

/** K = 3 layers score, H = 2 heads of C = 3 channels, D = 4, E = 5. The seed is fixed: float32 and float64 may choose
 * differently where two values differ by rounding only, and such a picture would come once in a thousand runs. */
const [K, H, C, D, E] = [3, 2, 3, 4, 5];
const runs = { numRuns: 25, seed: 20 };

type Features = Shown & { cls?: tf.Tensor3D };

/** Pictures of G × G patches, and what a tower would show of them. */
interface Seen {
  G: number;
  pictures: twin.Picture[];
  features: Features;
}

function see(random: Random, B: number, G: number): Seen {
  const P = G * G;
  const W = draw(random, [D, E]);
  const positive = <T>(x: T): T => (Array.isArray(x) ? x.map(positive) : (x as number) + 1.001) as T;
  const pictures = Array.from({ length: B }, (): twin.Picture => {
    const F = draw(random, [P, D]);
    const keys = draw(random, [H, P + 1, C]);
    return {
      F,
      Z: linear(F, { weight: W }),
      cls: draw(random, [D]),
      rows: positive(draw(random, [K, H, P])),
      attention: positive(draw(random, [H, P + 1, P + 1])),
      keys,
      relevance: keys[0].slice(1).map(([x]) => x), // any numbers will do
    };
  });
  return { G, pictures, features: featuresFrom(pictures, W) };
}

function featuresFrom(pictures: twin.Picture[], W: number[][]): Features {
  const rows = Array.from({ length: K }, (_, l) => tf.tensor3d(pictures.map((p) => p.rows[l])));
  return Object.assign(seenOf(tf.tensor3d(pictures.map(({ F }) => F))), {
    clsAttention: new Map(rows.map((row, l) => [l, row])),
    attention: new Map([[2, tf.tensor4d(pictures.map((p) => p.attention))]]),
    keys: new Map([[2, tf.tensor4d(pictures.map((p) => p.keys))]]),
    cls: tf.tensor3d(pictures.map((p) => [p.cls])),
    compare: () => tf.tensor2d(pictures.map((p) => p.relevance)),
    project: (x: tf.Tensor3D) => tf.tidy(() => mixTokens(x, tf.tile(tf.tensor3d([W]), [x.shape[0], 1, 1]))),
  });
}

/** Runs as the evaluation does: a method sees only what it needs. The selected layer is the last of three. */
function run(name: string, { features }: Pick<Seen, 'features'>, U: number, given: MethodOptions = {}) {
  const method = findMethod(name);
  const resources = { questions: Array.from({ length: features.F.shape[0] }, () => [1]) };
  return runMethod(method, features, U, { options: { ...method.defaults, ...given }, resources });
}

const source = sourceOf({ patches: 16, layers: K, selectedLayer: K - 1 });
const prepare = (name: string, given: MethodOptions = {}, known = source) => {
  const method = findMethod(name);
  return prepareMethod(method, known, 4, { ...method.defaults, ...given });
};

const cases = fc
  .record({
    random: randoms,
    B: fc.integer({ min: 1, max: 2 }),
    G: fc.integer({ min: 2, max: 5 }),
    n: fc.nat(),
  })
  .map(({ random, B, G, n }) => ({ random, G, U: 1 + (n % (G * G)), B }));

/** A method's choice, and its twin's. */
type Choice = [name: string, options: MethodOptions, kept: (picture: twin.Picture, U: number) => number[]];
const choosing: Choice[] = [
  ['fastervlm', {}, ({ rows }, U) => topK(scoreByCls(rows.at(-1)!), U)],
  ['hired', {}, ({ rows }, U) => topK(scoreByCls(rows.at(-1)!), U)],
  ['fopru', {}, (picture, U) => topK(twin.fopruScores(picture), U)],
  ['vispruner', {}, (picture, U) => twin.visPruner(picture, U, 0.5)],
  ['vispruner', { share: 0.75 }, (picture, U) => twin.visPruner(picture, U, 0.75)],
  ['vispruner', { share: 0 }, (picture, U) => twin.visPruner(picture, U, 0)],
  ['divprune', {}, ({ Z }, U) => twin.spreadOut(Z, [], U)],
  ['cdpruner', {}, twin.cdPruner],
  ['hybrid', {}, (picture, U) => twin.hybrid(picture, U, 0.5)],
  ['hybrid', { share: 0.2 }, (picture, U) => twin.hybrid(picture, U, 0.2)],
];

type Merging = [
  name: string,
  options: MethodOptions,
  tokens: (picture: twin.Picture, U: number) => number[][],
];
const merging: Merging[] = [
  ['visionzip', {}, (picture, U) => twin.visionZip(picture, U, 10 / 64, true)],
  ['visionzip', { contextual: 0.5 }, (picture, U) => twin.visionZip(picture, U, 0.5, true)],
  ['visionzip', { contextual: 1 }, (picture, U) => twin.visionZip(picture, U, 1, true)],
  ['visionzip', { contextual: 1, cls: 'drop' }, (picture, U) => twin.visionZip(picture, U, 1, false)],
  ['prumerge', {}, (picture, U) => twin.pruMerge(picture, U - 1, 32, false)],
  ['prumerge', { neighbours: 3 }, (picture, U) => twin.pruMerge(picture, U - 1, 3, false)],
  ['prumerge+', { neighbours: 3 }, (picture, U) => twin.pruMerge(picture, U - 1, 3, true)],
  ['dpc-knn', {}, (picture, U) => twin.dpcKnn(picture, U, 5)],
  ['dpc-knn', { neighbours: 2 }, (picture, U) => twin.dpcKnn(picture, U, 2)],
  ['dpc-knn', { neighbours: 99 }, (picture, U) => twin.dpcKnn(picture, U, 99)], // all there are
  ['pooling', {}, (picture, U) => twin.pooling(picture, U, 'grid')],
  ['pooling', { pattern: 'raster' }, (picture, U) => twin.pooling(picture, U, 'raster')],
];

describeEachBackend('the field', () => {
  tidyEachTest();

  test.each(choosing)(
    '%s %j keeps what its twin keeps: exactly U, ascending, unchanged',
    async (name, options, kept) => {
      await fc.assert(
        fc.asyncProperty(cases, async ({ random, B, G, U }) => {
          const seen = see(random, B, G);
          const result = await run(name, seen, U, options);
          expect(result.kept!).toEqual(seen.pictures.map((picture) => kept(picture, U)));
          for (const row of result.kept!) expect(new Set(row).size).toBe(U);
          const rows = result.kept!.map((row, b) => row.map((p) => seen.pictures[b].F[p]));
          expectEqual(result.tokens, tf.tensor3d(rows), 'tokens');
        }),
        runs,
      );
    },
  );

  test.each(merging)('%s %j makes the U tokens that its twin makes', async (name, options, tokens) => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ random, B, G, U }) => {
        const seen = see(random, B, G);
        const result = await run(name, seen, U, options);
        expect(result.kept).toBeUndefined();
        expectNear(
          result.tokens,
          seen.pictures.map((picture) => tokens(picture, U)),
          'tokens',
        );
      }),
      runs,
    );
  });

  test('FoPru by rows keeps whole rows of the grid, as many as fit, and refuses less than one', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ random, B, G, U }) => {
        const seen = see(random, B, G);
        const result = run('fopru', seen, U, { strategy: 'row' });
        if (U < G) {
          const why = `fopru: a budget of ${U} patches holds no whole row of ${G}; use strategy=rank`;
          await expect(result).rejects.toThrow(new UserError(why));
        } else {
          const kept = (await result).kept!;
          expect(kept).toEqual(seen.pictures.map((picture) => twin.fopruRows(picture, U)));
          expect(kept[0]).toHaveLength(Math.floor(U / G) * G);
        }
      }),
      runs,
    );
  });

  const whole = [
    ...choosing,
    ['dpc-knn', {}],
    ['pooling', {}],
    ['pooling', { pattern: 'raster' }],
    ['fopru', { strategy: 'row' }],
  ];
  test.each(whole.map(([name, options]) => [name, options] as [string, MethodOptions]))(
    '%s %j with U = P changes nothing',
    async (name, options) => {
      await fc.assert(
        fc.asyncProperty(cases, async ({ random, B, G }) => {
          const seen = see(random, B, G);
          expectEqual((await run(name, seen, G * G, options)).tokens, seen.features.F, 'tokens');
        }),
        { ...runs, numRuns: 10 },
      );
    },
  );

  test.each([...choosing, ...merging].map(([name, options]) => [name, options] as [string, MethodOptions]))(
    '%s %j of a batch is that of its pictures one by one',
    async (name, options) => {
      await fc.assert(
        fc.asyncProperty(cases, async ({ random, G, U }) => {
          const W = draw(random, [D, E]);
          const { pictures } = see(random, 3, G);
          const batch = (await run(name, { features: featuresFrom(pictures, W) }, U, options)).tokens;
          for (const [b, picture] of pictures.entries()) {
            const { tokens } = await run(name, { features: featuresFrom([picture], W) }, U, options);
            expectNear(tokens, tf.slice(batch, [b], [1]).arraySync(), `picture ${b}`);
          }
        }),
        { ...runs, numRuns: 8 },
      );
    },
  );

  // Not those that go by places too, nor those that begin with two patches each of which is the other's nearest: they
  // are equally far, or equally dense, and the lower index decides.
  const equivariant = [...choosing, ...merging]
    .filter(([name]) => !['visionzip', 'prumerge+', 'pooling', 'divprune'].includes(name))
    .filter(([, { share, neighbours }]) => share !== 0 && share !== 0.2 && neighbours !== 2)
    .map(([name, options]) => [name, options] as [string, MethodOptions]);
  test.each(equivariant)(
    '%s %j: the order of the patches changes nothing but the order',
    async (name, options) => {
      await fc.assert(
        fc.asyncProperty(cases, async ({ random, G, U }) => {
          const W = draw(random, [D, E]);
          const [picture] = see(random, 1, G).pictures;
          const places = picture.F.map((_, p) => ({ p, key: random() })).sort((a, b) => a.key - b.key);
          const pick = <T>(row: T[]): T[] => places.map(({ p }) => row[p]);
          const afterCls = <T>(row: T[]): T[] => [row[0], ...pick(row.slice(1))];
          const moved: twin.Picture = {
            ...picture,
            F: pick(picture.F),
            Z: pick(picture.Z),
            rows: picture.rows.map((layer) => layer.map(pick)),
            attention: picture.attention.map((head) => afterCls(head).map(afterCls)),
            keys: picture.keys.map(afterCls),
            relevance: pick(picture.relevance),
          };
          const still = await run(name, { features: featuresFrom([picture], W) }, U, options);
          const turned = await run(name, { features: featuresFrom([moved], W) }, U, options);
          if (still.kept) {
            const there = turned.kept![0].map((p) => places[p].p);
            expect(there.sort((a, b) => a - b)).toEqual(still.kept[0]);
          }
          const sorted = (x: tf.Tensor3D) => x.arraySync()[0].sort((a, b) => a[0] - b[0]);
          expectNear(tf.tensor2d(sorted(turned.tokens)), sorted(still.tokens), 'tokens');
        }),
        runs,
      );
    },
  );

  test.each([
    ['dpc-knn', {}],
    ['pooling', { pattern: 'grid' }],
    ['pooling', { pattern: 'raster' }],
  ] as [string, MethodOptions][])(
    '%s %j puts every patch into one token, whose mean it is',
    async (name, options) => {
      await fc.assert(
        fc.asyncProperty(cases, async ({ random, G, U }) => {
          const P = G * G;
          const { W } = await run(
            name,
            { features: seenOf(tf.tensor3d([draw(random, [P, D], 64)])) },
            U,
            options,
          );
          const [weights] = W.rows;
          assertNone(checkMerge({ patches: P, weights, means: true, partition: true }));
          expect(weights.reduce((sum, row) => sum + row.size, 0)).toBe(P);
          for (const row of weights) expect(new Set(row.values()).size).toBe(1); // all weigh alike
        }),
        runs,
      );
    },
  );

  test('the hybrid is VTC-CLS at one end, DivPrune at the other, and VisPruner ends at FasterVLM', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ random, B, G, U }) => {
        const seen = see(random, B, G);
        const kept = async (name: string, options = {}) => (await run(name, seen, U, options)).kept!;
        expect(await kept('hybrid', { share: 1 })).toEqual(await kept('vtc-cls', vtcCls.defaults));
        expect(await kept('hybrid', { share: 0 })).toEqual(await kept('divprune'));
        expect(await kept('vispruner', { share: 1 })).toEqual(await kept('fastervlm'));
      }),
      runs,
    );
  });

  test('equal patches: each is taken once, the lower index first', async () => {
    const features = seenOf(tf.ones([1, 9, 3]));
    for (const U of [1, 4, 9]) {
      const { kept } = await run('divprune', { features }, U);
      expect(kept).toEqual([[...Array(U).keys()]]);
      const { tokens } = await run('dpc-knn', { features }, U);
      expectNear(tokens, [Array.from({ length: U }, () => [1, 1, 1])], 'tokens');
    }
    expect((await run('divprune', { features: seenOf(tf.ones([1, 1, 3])) }, 1)).kept).toEqual([[0]]);
  });

  test('NaN is refused by name, and nothing is left in memory but results', async () => {
    const seen = see(() => 0.3, 2, 3);
    for (const [name, options] of [...choosing, ...merging]) {
      await expectNewTensors(1, name, () => run(name, seen, 4, options));
    }
    for (const name of ['divprune', 'cdpruner', 'vispruner', 'hybrid', 'dpc-knn']) {
      const features = {
        ...seen.features,
        F: tf.fill<tf.Rank.R3>([2, 9, D], NaN),
        project: (x: tf.Tensor3D) => x.clone(),
      };
      await expect(run(name, { features }, 4)).rejects.toThrow(/^(similarity|distance)\[0, 0, [01]\] is NaN/);
      await expectNewTensors(0, name, () => run(name, { features }, 4), true);
    }
  });

  test('adaptive PruMerge counts outliers, and refuses a batch whose pictures differ', async () => {
    const { pictures } = see(() => 0.5, 2, 4);
    for (const [b, outliers] of [1, 3].entries())
      pictures[b].rows = pictures[b].rows.map((layer) =>
        layer.map((head) => head.map((_, p) => (p < outliers ? 9 : 1 + p / 100))),
      );
    const W = draw(() => 0.2, [D, E]);
    const count = async (name: string, batch: twin.Picture[]) =>
      (await run(name, { features: featuresFrom(batch, W) }, 7, { count: 'adaptive' })).tokens.shape[1];
    expect(await count('prumerge', [pictures[0]])).toBe(1 + 1);
    expect(await count('prumerge', [pictures[1]])).toBe(3 + 1);
    expect(await count('prumerge+', [pictures[0]])).toBe(1 + 2 + 1); // 0; 5, 10
    expect(await count('prumerge+', [pictures[1]])).toBe(3 + 12 + 1); // 0 to 2; every one but the last
    const even = {
      ...pictures[0],
      rows: pictures[0].rows.map((layer) => layer.map((head) => head.map(() => 1))),
    };
    expect(await count('prumerge', [even])).toBe(0 + 1);
    expect(await count('prumerge+', [even])).toBe(0 + 1 + 1); // 0
    await expect(count('prumerge', pictures)).rejects.toThrow(
      new UserError(
        'prumerge: count=adaptive makes 2 and 4 tokens of the pictures of one batch; ask about one picture at a time',
      ),
    );
  });
});

describe('CDPruner', () => {
  test('what is nearest to the question weighs almost nothing, and all weigh 1 where none is nearer', () => {
    const c = Float32Array.of(1, -1, 0);
    expect([...scaleRelevance(c)]).toEqual([1e-6 / 2, (2 + 1e-6) / 2, (1 + 1e-6) / 2]);
    expect([...scaleRelevance(c.fill(0.3))]).toEqual([1, 1, 1]);
  });

  test('a patch that is like none kept goes before one more relevant that is, however little both weigh', () => {
    const similarity = Float32Array.of(1, 0.99, 0, 0.99, 1, 0, 0, 0, 1);
    expect(chooseByDeterminant(similarity, Float64Array.of(1, 2e-4, 1e-4), 2)).toEqual([0, 2]);
  });
});

describe('options', () => {
  test.each([
    ['vispruner', { share: 1.5 }, 'vispruner: share=1.5 is not a share, from 0 to 1'],
    ['hybrid', { share: -0.1 }, 'hybrid: share=-0.1 is not a share, from 0 to 1'],
    ['hybrid', { layers: 4 }, '--layers 4: the ensemble ends at layer 2, so it can have 1 to 3 layers'],
    ['visionzip', { contextual: 2 }, 'visionzip: contextual=2 is not a share, from 0 to 1'],
    ['prumerge+', { neighbours: 0 }, 'prumerge+: neighbours=0 is not a whole number from 1'],
    ['dpc-knn', { neighbours: 2.5 }, 'dpc-knn: neighbours=2.5 is not a whole number from 1'],
  ] as [string, MethodOptions, string][])('%s %j is refused', (name, options, message) => {
    expect(() => prepare(name, options)).toThrow(new UserError(message));
  });

  test.each(['fastervlm', 'fopru', 'vispruner', 'visionzip', 'hybrid'])(
    '%s is refused where no layer comes before the features',
    (name) => {
      const message = `${name} needs attention, but the features are the embedding output, before any layer`;
      expect(() => prepare(name, {}, { ...source, selectedLayer: -1 })).toThrow(new UserError(message));
      const one: MethodOptions = name === 'hybrid' ? { layers: 1 } : {};
      const first = prepare(name, one, { ...source, selectedLayer: 0 }).needs!;
      for (const layers of Object.values(first)) expect(layers).toEqual([0]);
    },
  );

  test('a tower without [CLS] serves the methods that do not read its attention, and no other', () => {
    const without = { ...source, prefixTokens: 0 } as const;
    const refused = methods.filter(({ name, stages }) => {
      if (stages[0] === 'between' || name === 'cdpruner') return false;
      try {
        prepare(name, {}, without);
        return false;
      } catch (error) {
        expect((error as Error).message).toBe(
          `${name} needs the attention of [CLS], but this vision tower has no such token: divprune, fopru, random, uniform and fastv do without`,
        );
        return error instanceof UserError;
      }
    });
    expect(refused.map(({ name }) => name)).toEqual(
      ['vtc-cls', 'fastervlm', 'hired', 'vispruner', 'hybrid', 'visionzip', 'prumerge', 'prumerge+', 'tome'], // prettier-ignore
    );
  });

  test('a method that asked for one layer is not handed another', () => {
    expect(onlyLayer(new Map([[7, 'x']]))).toBe('x');
    expect(() => onlyLayer(new Map([[6, 'x'], [7, 'y']]))).toThrow('one layer was asked for, 2 are there'); // prettier-ignore
  });

  test('PruMerge looks at the last layer, whatever is selected', () => {
    const known = sourceOf({ patches: 576, layers: 24, selectedLayer: 22 });
    expect(prepare('prumerge', {}, known).needs).toEqual({ clsAttention: [23], keys: [23] });
  });
});
