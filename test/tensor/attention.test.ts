import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  attend,
  attendBatched,
  attendByHead,
  attendRow,
  causalMask,
  MASKED,
  mergeHeads,
  splitHeads,
} from '../../src/tensor/attention.ts';
import * as twin from '../reference/attention.ts';
import { describeEachBackend } from '../support/backends.ts';
import {
  axis,
  draw,
  expectEqual,
  expectNear,
  expectNewTensors,
  randoms,
  tidyEachTest,
} from '../support/random.ts';

const runs = { numRuns: 50 };

/** Random q, k, v; scores of up to about ±10, so that some rows are nearly flat and some nearly one-hot. */
const cases = fc
  .record({
    random: randoms,
    B: axis(3),
    G: axis(3),
    share: axis(3),
    Tq: axis(5),
    past: fc.nat(4),
    C: axis(5),
    causal: fc.boolean(),
  })
  .map(({ random, B, G, share, Tq, past, C, causal }) => {
    const q = draw(random, [B, G * share, Tq, C], 4);
    const k = draw(random, [B, G, Tq + past, C], 2);
    const v = draw(random, [B, G, Tq + past, C]);
    const mask = () => (causal ? causalMask(Tq, Tq + past) : undefined);
    return { q, k, v, mask, causal };
  });

describeEachBackend('attention', () => {
  tidyEachTest();

  test('attend equals its twin: grouped heads, causal mask, cached keys', () => {
    fc.assert(
      fc.property(cases, ({ q, k, v, mask, causal }) => {
        const expected = q.map((heads, b) => twin.attend(heads, k[b], v[b], causal));
        const actual = attend(tf.tensor4d(q), tf.tensor4d(k), tf.tensor4d(v), {
          mask: mask(),
          keepProbabilities: true,
        });
        expectNear(
          actual.context,
          expected.map((item) => item.context),
          'context',
        );
        expectNear(
          actual.probabilities!,
          expected.map((item) => item.probabilities),
          'probabilities',
        );
      }),
      runs,
    );
  });

  test('all heads at once equals head by head, to 1e-6', () => {
    fc.assert(
      fc.property(cases, ({ q, k, v, mask }) => {
        const args = [tf.tensor4d(q), tf.tensor4d(k), tf.tensor4d(v)] as const;
        const batched = attendBatched(...args, { mask: mask(), keepProbabilities: true });
        const byHead = attendByHead(...args, { mask: mask(), keepProbabilities: true });
        expectNear(batched.context, byHead.context.arraySync(), 'context', 1e-6);
        expectNear(batched.probabilities!, byHead.probabilities!.arraySync(), 'probabilities', 1e-6);
      }),
      runs,
    );
  });

  test('asking for the probabilities changes nothing else', () => {
    fc.assert(
      fc.property(cases, ({ q, k, v, mask }) => {
        const args = [tf.tensor4d(q), tf.tensor4d(k), tf.tensor4d(v)] as const;
        const without = attend(...args, { mask: mask() });
        expect(without.probabilities).toBeUndefined();
        expectEqual(
          without.context,
          attend(...args, { mask: mask(), keepProbabilities: true }).context,
          'context',
        );
      }),
      runs,
    );
  });

  test('every row of attention sums to 1, and what is masked is exactly 0', () => {
    fc.assert(
      fc.property(cases, ({ q, k, v, mask, causal }) => {
        const args = [tf.tensor4d(q), tf.tensor4d(k), tf.tensor4d(v)] as const;
        const { probabilities } = attend(...args, { mask: mask(), keepProbabilities: true });
        const [, , Tq, Tk] = probabilities!.shape;
        for (const row of probabilities!.arraySync().flat(2).entries()) {
          const [i, values] = [row[0] % Tq, row[1]];
          expect(values.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 5);
          expect(values.every((p) => p >= 0)).toBe(true);
          if (causal) expect(values.slice(i + 1 + Tk - Tq).every((p) => p === 0)).toBe(true);
        }
      }),
      runs,
    );
  });

  test('attendRow equals its twin, and a row of the full attention', () => {
    fc.assert(
      fc.property(randoms, axis(3), axis(3), axis(6), axis(5), (random, B, H, T, C) => {
        const q = draw(random, [B, H, T, C], 4);
        const k = draw(random, [B, H, T, C], 2);
        const first = q.map((heads) => heads.map((head) => head[0]));
        const row = attendRow(tf.tensor3d(first), tf.tensor4d(k));
        expectNear(
          row,
          first.map((queries, b) => twin.attendRow(queries, k[b])),
          'row',
        );
        const full = attend(tf.tensor4d(q), tf.tensor4d(k), tf.tensor4d(k), { keepProbabilities: true });
        const ofFull = tf.reshape(tf.slice(full.probabilities!, [0, 0, 0, 0], [B, H, 1, T]), [B, H, T]);
        expectNear(row, ofFull.arraySync(), 'row of the full attention');
      }),
      runs,
    );
  });

  test('merging split heads gives back the tensor; splitting cuts the channels in order', () => {
    fc.assert(
      fc.property(randoms, axis(3), axis(4), axis(3), axis(4), (random, B, T, H, C) => {
        const x = draw(random, [B, T, H * C]);
        const heads = splitHeads(tf.tensor3d(x), H);
        expectNear(
          heads,
          x.map((rows) => twin.splitHeads(rows, H)),
          'heads',
          0,
        );
        expectNear(mergeHeads(heads), x, 'merged', 0);
      }),
      runs,
    );
  });

  test('the causal mask lets query i see the past and the tokens up to itself', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 6 }), fc.nat(4), (Tq, past) => {
        const expected = Array.from({ length: Tq }, (_, i) =>
          Array.from({ length: Tq + past }, (_, j) => (j > past + i ? MASKED : 0)),
        );
        expect(causalMask(Tq, Tq + past)!.arraySync()).toEqual(expected);
      }),
      runs,
    );
    expect(causalMask(1, 4)).toBeUndefined();
  });

  test('shapes that do not fit are refused by name', () => {
    const x = (...shape: [number, number, number, number]) => tf.zeros(shape) as tf.Tensor4D;
    expect(() => attend(x(1, 2, 3, 4), x(1, 2, 3, 5), x(1, 2, 3, 4))).toThrow(/^k is \[1, 2, 3, 5\]/);
    expect(() => attend(x(1, 2, 3, 4), x(1, 2, 3, 4), x(1, 2, 2, 4))).toThrow(/^v is \[1, 2, 2, 4\]/);
    expect(() => attend(x(1, 3, 3, 4), x(1, 2, 3, 4), x(1, 2, 3, 4))).toThrow(
      '3 query heads cannot share 2 key/value heads',
    );
  });

  test('only the results are left in memory', async () => {
    const q = tf.ones([2, 4, 3, 2]) as tf.Tensor4D;
    const k = tf.ones([2, 2, 3, 2]) as tf.Tensor4D;
    const row = tf.ones([2, 2, 2]) as tf.Tensor3D;
    const x = tf.ones([2, 3, 8]) as tf.Tensor3D;
    const mask = causalMask(3, 3);
    const wrongMask = tf.zeros([2, 2]) as tf.Tensor2D;
    await expectNewTensors(1, 'attend', () => attend(q, k, k, { mask }));
    await expectNewTensors(2, 'attend with probabilities', () =>
      attend(q, k, k, { keepProbabilities: true }),
    );
    await expectNewTensors(1, 'attendRow', () => attendRow(row, k));
    await expectNewTensors(1, 'causalMask', () => causalMask(2, 3));
    await expectNewTensors(0, 'causalMask of one query', () => causalMask(1, 3));
    await expectNewTensors(1, 'splitHeads', () => splitHeads(x, 2));
    await expectNewTensors(1, 'mergeHeads', () => mergeHeads(q));
    await expectNewTensors(0, 'attend that throws', () => attend(q, k, k, { mask: wrongMask }), true);
    await expectNewTensors(0, 'attendRow that throws', () => attendRow(row, q), true);
    await expectNewTensors(0, 'splitHeads that throws', () => splitHeads(q as never, 2), true);
  });
});
