/** What VTC-CLS claims of its selection, each claim a property. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ensembleNames } from '../../src/compress/ensemble.ts';
import type { Seen } from '../../src/compress/method.ts';
import { ensembledLayers, vtcCls, type VtcClsOptions } from '../../src/compress/vtc-cls.ts';
import { UserError } from '../../src/errors.ts';
import { checkSelection } from '../../src/testing/selection.ts';
import { selectionLaws, sumIsMean, type Select } from '../../src/testing/selection-laws.ts';
import { assertNone } from '../../src/testing/violation.ts';
import { runClipVision } from '../../src/vision/clip.ts';
import * as twin from '../reference/compress.ts';
import { clsRow } from '../reference/vision.ts';
import { describeEachBackend } from '../support/backends.ts';
import { runMethod, seenOf, sourceOf } from '../support/methods.ts';
import {
  axis,
  draw,
  expectNear,
  expectNewTensors,
  randoms,
  seededRandom,
  tidyEachTest,
} from '../support/random.ts';
import { tinyVision } from '../support/tiny.ts';

const runs = { numRuns: 40 };

/** [CLS] rows of K layers, [K][B][H][P]. */
type Rows = number[][][][];

/**
 * Attention in multiples of 1/64 over 1, 2 or 4 heads: means and sums are exact in float32, whatever their order, so a
 * claim about the selection needs no tolerance; and equal scores, the hard case, are common.
 */
const cases = fc
  .record({
    random: randoms,
    K: axis(4),
    B: axis(3),
    H: fc.constantFrom(1, 2, 4),
    P: axis(9),
    budget: fc.nat(),
  })
  .map(({ random, K, B, H, P, budget }) => ({
    rows: draw(random, [K, B, H, P]).map((layer) =>
      layer.map((item) => item.map((head) => head.map((x) => Math.floor(4 * (x + 1)) / 64))),
    ),
    U: 1 + (budget % P),
  }));

const ensembleName = fc.constantFrom(...ensembleNames);

function numbered(rows: Rows): Seen {
  const [B, P] = [rows[0].length, rows[0][0][0].length];
  const patches = Array.from({ length: B }, (_, b) => Array.from({ length: P }, (_, p) => [b, p]));
  const clsAttention = new Map(rows.map((layer, l) => [l, tf.tensor3d(layer)]));
  return seenOf(tf.tensor3d(patches), { clsAttention });
}

const run = (seen: Seen, U: number, ensemble: VtcClsOptions['ensemble'] = 'sum') => {
  const K = seen.clsAttention.size;
  const source = sourceOf({ patches: seen.F.shape[1], layers: K, selectedLayer: K - 1 });
  return runMethod(vtcCls, seen, U, { options: { layers: K, ensemble }, source });
};

async function select(rows: Rows, U: number, ensemble: VtcClsOptions['ensemble'] = 'sum') {
  const { kept, scores, tokens } = await run(numbered(rows), U, ensemble);
  return { kept: kept!, scores: scores!.map((row) => [...row]), tokens: tokens.arraySync() };
}

const selectBy =
  (ensemble: VtcClsOptions['ensemble']): Select =>
  async (attention, U) =>
    (await select(attention, U, ensemble)).kept;

describeEachBackend('VTC-CLS', () => {
  tidyEachTest();

  test('selection, scores and tokens equal the twins, step after step', async () => {
    await fc.assert(
      fc.asyncProperty(cases, ensembleName, async ({ rows, U }, ensemble) => {
        const { kept, scores, tokens } = await select(rows, U, ensemble);
        const expected = rows[0].map((_, b) =>
          twin.ensemble(
            ensemble,
            rows.map((layer) => twin.scoreByCls(layer[b])),
          ),
        );
        expectNear(tf.tensor2d(scores), expected, 'scores', 1e-6);
        expect(kept).toEqual(scores.map((row) => twin.topK(row, U)));
        expect(tokens).toEqual(kept.map((row, b) => row.map((p) => [b, p])));
      }),
      runs,
    );
  });

  test('K = 1 is the selection of FasterVLM', async () => {
    await fc.assert(
      fc.asyncProperty(randoms, axis(16), async (random, U) => {
        const vision = tinyVision(random);
        const pixels = tf.tensor4d(draw(random, [2, 9, 9, 3]));
        const layer = 2;
        const source = sourceOf({ patches: 16, layers: 4, selectedLayer: layer });
        const options: VtcClsOptions = { layers: 1, ensemble: 'sum' };
        const { needs } = vtcCls.prepare(source, U, options, {});
        expect(needs).toEqual({ clsAttention: [layer] });
        const seen = runClipVision(vision, pixels, { hidden: [layer + 1], attention: [layer], ...needs });
        const patches = tf.slice(seen.hidden.get(layer + 1)!, [0, 1, 0], [2, 16, 6]);
        const shown = seenOf(patches, { clsAttention: seen.clsAttention });
        const { kept } = await runMethod(vtcCls, shown, U, { options, source });
        const attention = seen.attention.get(layer)!.arraySync();
        // Skip the rare case in which the last kept and the first dropped patch differ by rounding only.
        const edges = attention.map((heads) => twin.scoreByCls(clsRow(heads)).sort((a, b) => b - a));
        fc.pre(U === 16 || edges.every((row) => row[U - 1] - row[U] > 1e-6));
        expect(kept).toEqual(attention.map((heads) => twin.fasterVlm(heads, U)));
      }),
      runs,
    );
  });

  /** A layer that votes alike for all has no vote in a sum or a mean alone. */
  const bySum = ['top-u', 'constant-layer'];
  const laws = ensembleNames.flatMap((ensemble) =>
    selectionLaws
      .filter(({ name }) => /sum|^mean/.test(ensemble) || !bySum.includes(name))
      .map((law) => [law.name, ensemble, law] as const),
  );
  test.each(laws)('the law %s holds under %s', async (_, ensemble, law) => {
    await fc.assert(law.property(selectBy(ensemble)), runs);
  });

  test('sum and mean select the same', async () => {
    await fc.assert(sumIsMean.property({ sum: selectBy('sum'), mean: selectBy('mean') }), runs);
  });

  test('whatever the ensemble, the selection is that of its scores', async () => {
    await fc.assert(
      fc.asyncProperty(cases, ensembleName, async ({ rows, U }, ensemble) => {
        const { kept, scores } = await select(rows, U, ensemble);
        for (const [b, row] of kept.entries()) {
          assertNone(checkSelection({ kept: row, budget: U, scores: scores[b] }));
        }
      }),
      runs,
    );
  });

  test('a smaller budget keeps a part of what a larger one keeps', async () => {
    await fc.assert(
      fc.asyncProperty(cases, ensembleName, async ({ rows, U }, ensemble) => {
        fc.pre(U > 1);
        const [small, large] = [await select(rows, U - 1, ensemble), await select(rows, U, ensemble)];
        for (const [b, row] of small.kept.entries())
          expect(large.kept[b]).toEqual(expect.arrayContaining(row));
      }),
      runs,
    );
  });

  test('a NaN in the attention is refused by the name of the score', async () => {
    const rows = [[[[0.5, 0.25, NaN]]]];
    await expect(select(rows, 1)).rejects.toThrow('compress.scores[0, 2] is NaN');
  });

  test('the ensemble is the K layers that end with the selected one', () => {
    const llava = sourceOf({ patches: 576, layers: 24, selectedLayer: 22 });
    expect(ensembledLayers(llava, 1)).toEqual([22]);
    expect(ensembledLayers(llava, 3)).toEqual([20, 21, 22]);
    expect(ensembledLayers(llava, 7)[0]).toBe(16); // the released code's --layer 16
    expect(ensembledLayers(llava, 23)[0]).toBe(0);
    expect(vtcCls.prepare(llava, 64, vtcCls.defaults, {}).needs).toEqual({ clsAttention: [20, 21, 22] });
    for (const K of [0, 24, 2.5]) {
      expect(() => ensembledLayers(llava, K)).toThrow(
        new UserError(`--layers ${K}: the ensemble ends at layer 22, so it can have 1 to 23 layers`),
      );
    }
  });

  test('only the results are left in memory', async () => {
    const random = seededRandom(1);
    const seen = numbered(draw(random, [2, 2, 2, 5]));
    const broken = numbered([[[[0, NaN]]]]);
    await expectNewTensors(1, 'vtc-cls', () => run(seen, 2));
    await expectNewTensors(0, 'vtc-cls of NaN', () => run(broken, 1), true);
    await expectNewTensors(0, 'vtc-cls over budget', () => run(seen, 6), true);
  });
});
