/** What every method between the decoder's layers must hold to: its twin, its caches, its memory. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fastv } from '../../src/compress/fastv.ts';
import { llavolta } from '../../src/compress/llavolta.ts';
import type { MethodOptions } from '../../src/compress/method.ts';
import * as pyramid from '../../src/compress/pyramiddrop.ts';
import { drawTokens } from '../../src/compress/random.ts';
import { randomInDepth } from '../../src/compress/random-in-depth.ts';
import { methods } from '../../src/compress/registry.ts';
import * as sparse from '../../src/compress/sparsevlm.ts';
import * as withdrawal from '../../src/compress/vtw.ts';
import * as yopo from '../../src/compress/yopo.ts';
import { measureHeads, nameInactiveHeads } from '../../src/compress/yopo-heads.ts';
import { cutImage, imagePlaces } from '../../src/decoder/cut.ts';
import type { LayerHook } from '../../src/decoder/state.ts';
import { UserError } from '../../src/errors.ts';
import { firstOf, picking } from '../../src/tensor/token-matrix.ts';
import * as twin from '../reference/decoder-methods.ts';
import { describeEachBackend } from '../support/backends.ts';
import {
  decodeAndDrop,
  decodeBothWays,
  expectTwin,
  hookCases,
  randomPrompt,
  runHooked,
  sourceOf,
  towerBound,
  type HookCase,
} from '../support/hooks.ts';
import { hookOf, sourceOf as anySource } from '../support/methods.ts';
import { expectEqual, expectNear, expectNewTensors, tidyEachTest, toArrays } from '../support/random.ts';

const runs = { numRuns: 12 };

/** One way to run a method: its hook, its twin, and the image tokens that each layer should hold. */
interface Plan {
  /** @param full with options under which all is kept when the budget is all */
  hook: (budget: number, full?: boolean) => LayerHook;
  cut: (watch: twin.Watch, picture: number) => twin.Cut;
  image: (layer: number) => number;
  limit?: twin.Limit;
}

/** @param n any number: it chooses the options */
type Planner = (drawn: HookCase, n: number) => Plan;

/** The counts of the last cut up to a layer. */
const held = (counts: Map<number, number>, P: number) => (layer: number) =>
  [...counts].reduce((now, [from, count]) => (from <= layer ? Math.min(now, count) : now), P);

const planners: Record<string, Planner> = {
  'fastv'(drawn, n) {
    const [layer, rows] = [1 + (n % (drawn.L - 1)), n % 2 ? ('last' as const) : ('all' as const)];
    return {
      hook: (U) => hookOf(fastv, sourceOf(drawn), U, { layer, rows }),
      cut: (watch) => twin.fastv(layer, rows, drawn.U, watch),
      image: (l) => (l < layer ? drawn.P : drawn.U),
    };
  },
  'random-in-depth'(drawn, n) {
    const [layer, seed] = [n % drawn.L, n >> 3];
    return {
      hook: (U) => hookOf(randomInDepth, sourceOf(drawn), U, { layer, seed }),
      cut: (_, picture) => {
        const [row] = drawTokens(1, drawn.P, drawn.U, seed, [picture]).rows;
        return twin.randomInDepth(layer, row.map(firstOf));
      },
      image: (l) => (l < layer ? drawn.P : drawn.U),
    };
  },
  'vtw'(drawn, n) {
    const layer = n % 2 ? 1 + (n % drawn.L) : 0;
    const k = layer || Math.max(1, Math.round((drawn.L * drawn.U) / drawn.P));
    return {
      hook: (U, full = false) => hookOf(withdrawal.vtw, sourceOf(drawn), U, { layer: full ? 0 : layer }),
      cut: () => twin.vtw(k),
      image: (l) => (l < k ? drawn.P : 0),
    };
  },
  'pyramiddrop'(drawn, n) {
    const stages = 2 + (n % (drawn.L - 1));
    const counts = new Map<number, number>();
    for (let i = 1; i < stages; i++) {
      const count = Math.round(drawn.P * (drawn.U / drawn.P) ** (i / (stages - 1)));
      counts.set(Math.round((i * drawn.L) / stages), Math.max(1, count));
    }
    return {
      hook: (U) => hookOf(pyramid.pyramiddrop, sourceOf(drawn), U, { stages }),
      cut: (watch) => twin.pyramiddrop(counts, watch),
      image: held(counts, drawn.P),
    };
  },
  'llavolta'(drawn, n) {
    const layer = n % drawn.L;
    return {
      hook: (U) => hookOf(llavolta, sourceOf(drawn), U, { layer }),
      cut: () => twin.llavolta(layer, drawn.U),
      image: (l) => (l < layer ? drawn.P : drawn.U),
    };
  },
  'sparsevlm'(drawn, n) {
    const recycle = [0, 0.3, 1][n % 3];
    const counts = sparse.stageCounts(drawn.L, drawn.P, drawn.U);
    const plan = new Map(
      [...counts].map(([layer, count]) => [layer, (P: number) => sparse.splitBudget(P, count, recycle)]),
    );
    return {
      hook: (U) => hookOf(sparse.sparsevlm, sourceOf(drawn), U, { recycle }),
      cut: (watch) => twin.sparsevlm(plan, watch),
      image: held(counts, drawn.P),
    };
  },
  'yopo': (drawn, n) => planYopo(drawn, n, 'release'),
  'yopo, cut': (drawn, n) => planYopo(drawn, n, 'cut'),
};

function planYopo(drawn: HookCase, n: number, mask: 'release' | 'cut'): Plan {
  const [window, ffn] = [[0, 1, 3][n % 3], [1, 2, 4][(n >> 2) % 3]];
  const inactive = [`${drawn.L - 1}.0`, '0.3', '1.2', '1.1'].slice(n % 4);
  const layer = n % 2 ? 1 + (n % drawn.L) : 0;
  const k = layer || withdrawal.layerOfMean(drawn.L, drawn.U, drawn.P);
  const off = { window: 0, ffn: 1, heads: '', layer: 0, mask };
  const options = { window, ffn, heads: inactive.join('+'), layer, mask };
  const M = drawn.llama.config.intermediate_size;
  return {
    hook: (U, full = false) => hookOf(yopo.yopo, sourceOf(drawn), U, full ? off : options),
    cut: () => (mask === 'cut' ? twin.vtw(k) : ({ tokens }) => tokens),
    limit: twin.yopo(window, ffn, inactive, M, mask === 'release' ? { last: k } : undefined),
    image: (l) => (mask === 'release' || l < k ? drawn.P : 0),
  };
}

test('every method between the layers is held to its twin', () => {
  const names = methods.filter(({ stages }) => stages[0] === 'between').map(({ name }) => name);
  const planned = new Set(Object.keys(planners).map((name) => name.replace(/,.*/, '')));
  expect([...planned].sort()).toEqual([...names].sort());
});

describeEachBackend('between the layers', () => {
  tidyEachTest();

  for (const [name, planner] of Object.entries(planners)) {
    const cases = fc
      .tuple(hookCases({ image: name === 'sparsevlm' ? 24 : 9 }), fc.nat(59))
      .map(([drawn, n]) => ({ ...drawn, plan: planner(drawn, n) }));

    test(`${name}: the tokens of every layer and the logits are the twin's, of every item of a batch`, async () => {
      await fc.assert(
        fc.asyncProperty(cases, (drawn) =>
          expectTwin(drawn, drawn.plan.hook(drawn.U), drawn.plan.cut, drawn.plan.limit),
        ),
        runs,
      );
    });

    test(`${name}: decoding equals a recomputation without a cache, and every layer holds what it should`, async () => {
      await fc.assert(
        fc.asyncProperty(cases, async ({ plan, ...drawn }) => {
          const tail = 2;
          const { llama, input, L, T, P, U } = drawn;
          const both = await decodeBothWays(llama, input, plan.hook(U), tail);
          expectNear(both.cached, both.recomputed, 'logits', towerBound);
          expect(both.lengths).toEqual(Array.from({ length: L }, (_, l) => T - P + plan.image(l) + tail));
        }),
        runs,
      );
    });

    test(`${name}: a hook that has read a prompt reads the next one as a new hook would`, async () => {
      await fc.assert(
        fc.asyncProperty(cases, async ({ plan, ...drawn }) => {
          const { llama, input, random, T, P, U } = drawn;
          const used = plan.hook(U);
          await runHooked(llama, randomPrompt(llama, random, 1, T - P - 1, P, 1), used);
          const again = await runHooked(llama, input, used);
          const afresh = await runHooked(llama, input, plan.hook(U));
          expect(again.positions).toEqual(afresh.positions);
          expectEqual(again.logits, afresh.logits, 'logits');
        }),
        { numRuns: 8 },
      );
    });

    test(`${name}: with everything kept it is the full model, bit by bit`, async () => {
      await fc.assert(
        fc.asyncProperty(cases, async ({ plan, ...drawn }) => {
          const full = await runHooked(drawn.llama, drawn.input);
          const all = await runHooked(drawn.llama, drawn.input, plan.hook(drawn.P, true));
          expectEqual(all.logits, full.logits, 'logits');
        }),
        { numRuns: 4 },
      );
    });

    test(`${name}: a run leaves nothing behind`, async () => {
      const drawn = fc
        .sample(hookCases({ layers: [3, 5], image: 24 }), { numRuns: 30, seed: 4 })
        .find(({ P }) => P > 8)!;
      for (const n of [1, 2, 3]) {
        const { hook } = planner(drawn, n);
        await expectNewTensors(0, name, () => decodeAndDrop(drawn, hook(2)));
      }
    });
  }

  test('yopo: a head’s activity in a sample is what it gives to the picture against what it gives to text', async () => {
    await fc.assert(
      fc.asyncProperty(hookCases(), async ({ llama, input, random, L, T }) => {
        const H = llama.config.num_attention_heads;
        const samples = [input, randomPrompt(llama, random, 2, 2, 3, 1)];
        const expected: number[][][] = [];
        for (const { hidden, positions, roles } of samples) {
          const [rows, places] = [hidden.arraySync(), positions.arraySync()];
          for (const b of roles.keys()) {
            const zeros = () => Array.from({ length: L }, () => Array<number>(H).fill(0));
            const given = { image: zeros(), text: zeros() };
            const prompt = rows[b].map((x, t) => ({ hidden: x, position: places[b][t], role: roles[b][t] }));
            twin.runCut(toArrays(llama.weights), prompt, llama.config, ({ layer, tokens, ahead }) => {
              for (const [h, head] of ahead().entries())
                for (const row of head)
                  for (const [j, x] of row.entries()) given[tokens[j].role][layer][h] += x;
              return tokens;
            });
            expected.push(given.image.map((row, l) => row.map((x, h) => x / given.text[l][h])));
          }
        }
        const activity = await measureHeads(
          llama,
          samples.map((sample) => ({ ...sample, nextPosition: Math.max(T, 6) })),
        );
        expectNear(tf.tensor3d(activity), expected, 'activity', towerBound);
      }),
      { numRuns: 6 },
    );
  });

  test('yopo refuses a head that the decoder lacks', async () => {
    const [drawn] = fc.sample(hookCases(), { numRuns: 1, seed: 3 });
    const hook = hookOf(yopo.yopo, sourceOf(drawn), drawn.P, { ...yopo.yopo.defaults, heads: '0.1+0.4' });
    const message = 'yopo: heads names head 4, but a layer has 4';
    await expect(runHooked(drawn.llama, drawn.input, hook)).rejects.toThrow(new UserError(message));
  });

  test('sparsevlm: a prompt that ends with its picture is rated by its last token', async () => {
    await fc.assert(
      fc.asyncProperty(hookCases({ image: 24 }), async (drawn) => {
        const input = randomPrompt(drawn.llama, drawn.random, 1, 2, drawn.P, 0);
        const { hook, cut } = planners['sparsevlm'](drawn, 1);
        await expectTwin({ ...drawn, input }, hook(drawn.U), cut);
      }),
      runs,
    );
  });
});

test('items with more and with fewer image tokens are no batch, and a prompt that is all picture cannot lose it', async () => {
  expect(() => imagePlaces([['image', 'text'], ['text', 'text']])).toThrow('hold 1, 0 image tokens'); // prettier-ignore
  const state = {
    hidden: tf.zeros([1, 2, 3]) as tf.Tensor3D,
    positions: tf.tensor2d([[0, 1]], [1, 2], 'int32'),
  };
  await expect(cutImage({ ...state, roles: [['image', 'image']] }, picking([[]], 2))).rejects.toThrow(
    new UserError('the prompt holds nothing but a picture: no token is left when it goes'),
  );
});

const source = anySource({ layers: 4, patches: 16 });

test('heads that are below the threshold in all but a tenth of the samples are named, but for the first two layers', () => {
  const sample = [[0, 0], [0, 0], [0.1, 0.3], [0.2, 0.05]]; // prettier-ignore
  const other = [[0, 0], [0, 0], [0.3, 0.3], [0.2, 0.05]]; // prettier-ignore
  const activity = [...Array.from({ length: 9 }, () => sample), other]; // head 2.0 is above it in 1 of 10
  expect(nameInactiveHeads(activity, 0.2)).toBe('2.0+3.0+3.1');
  expect(nameInactiveHeads([...activity, other], 0.2)).toBe('3.0+3.1');
  expect(nameInactiveHeads(activity, 0.2, { share: 0, spared: 3 })).toBe('3.0+3.1');
  expect(yopo.parseHeads('2.0+3.1', 4)).toEqual([[], [], [0], [1]]);
  expect(yopo.parseHeads('', 2)).toEqual([[], []]);
});

test.each(methods.filter(({ stages }) => stages[0] === 'between').map(({ name }) => name))(
  '%s refuses a budget that is no number of visual tokens',
  (name) => {
    const method = methods.find((candidate) => candidate.name === name)!;
    for (const budget of [0, 17, 2.5, NaN]) {
      const message = `${name}: a budget of ${budget} is not between 1 and 16 visual tokens`;
      expect(() => hookOf(method, source, budget, method.defaults)).toThrow(new UserError(message));
    }
  },
);

test.each<[string, MethodOptions, string]>([
  ['vtw', { layer: 5 }, 'vtw: layer=5 is not a whole number from 0 to 4'],
  ['vtw', { layer: -1 }, 'vtw: layer=-1 is not a whole number from 0 to 4'],
  ['pyramiddrop', { stages: 1 }, 'pyramiddrop: stages=1 is not a whole number from 2 to 4'],
  ['pyramiddrop', { stages: 5 }, 'pyramiddrop: stages=5 is not a whole number from 2 to 4'],
  [
    'random-in-depth',
    { layer: 4, seed: 0 },
    'random-in-depth: layer=4 is not a whole number from 0 to 3: the decoder has 4 layers',
  ],
  ['random-in-depth', { layer: 0, seed: -1 }, 'random-in-depth: seed=-1 is not a whole number from 0'],
  ['llavolta', { layer: 4 }, 'llavolta: layer=4 is not a whole number from 0 to 3'],
  ['llavolta', { layer: 0.5 }, 'llavolta: layer=0.5 is not a whole number from 0 to 3'],
  [
    'yopo',
    { window: 4, heads: '', ffn: 2, layer: 0, mask: 'cut' },
    'yopo: window=4 is not an odd number of patches, or 0',
  ],
  [
    'yopo',
    { window: 5, heads: '', ffn: 0.5, layer: 0, mask: 'cut' },
    'yopo: ffn=0.5 is not a ratio of 1 or more',
  ],
  [
    'yopo',
    { window: 5, heads: '2', ffn: 2, layer: 0, mask: 'cut' },
    'yopo: heads=2: "2" should be layer.head',
  ],
  [
    'yopo',
    { window: 5, heads: '4.1', ffn: 2, layer: 0, mask: 'cut' },
    'yopo: heads=4.1: the decoder has 4 layers, from 0',
  ],
  [
    'yopo',
    { window: 5, heads: '', ffn: 2, layer: 9, mask: 'cut' },
    'yopo: layer=9 is not a whole number from 0 to 4',
  ],
  ['sparsevlm', { recycle: 1.5 }, 'sparsevlm: recycle=1.5 is not a share, from 0 to 1'],
  ['sparsevlm', { recycle: NaN }, 'sparsevlm: recycle=NaN is not a number'],
])('%s with %j is refused: %s', (name, options, message) => {
  const method = methods.find((candidate) => candidate.name === name)!;
  expect(() => hookOf(method, source, 4, options)).toThrow(UserError);
  expect(() => hookOf(method, source, 4, options)).toThrow(message);
});

test('of 32 layers the cuts stand where the papers have them, with the counts of the papers’ budgets', () => {
  expect([...pyramid.stageCounts(32, 576, 72, 4)]).toEqual([[8, 288], [16, 144], [24, 72]]); // prettier-ignore
  expect([...sparse.stageCounts(32, 576, 110)]).toEqual([[3, 332], [7, 191], [16, 110]]); // prettier-ignore
  expect(withdrawal.layerOfMean(32, 270, 576)).toBe(15);
});

test('what SparseVLM keeps and merges makes the budget, and one merged token stands for some ten of the pool', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 600 }),
      fc.nat(),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (P, m, r) => {
        const n = 1 + (m % (P - 1));
        const { kept, pool, merged } = sparse.splitBudget(P, n, r);
        expect(kept + merged).toBe(n);
        expect(kept + pool).toBeLessThanOrEqual(P);
        expect(merged).toBeLessThanOrEqual(pool);
        expect(sparse.splitBudget(P, n, 0)).toEqual({ kept: n, pool: 0, merged: 0 });
        if (kept > 0 && r > 0) expect(merged).toBe(Math.floor(pool / 10) + 1);
      },
    ),
  );
});
