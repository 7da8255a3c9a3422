/** FastV: what it keeps and where it cuts; its twin and its caches are in between-layers.test.ts. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fastv, scoreTokens, type FastvOptions } from '../../src/compress/fastv.ts';
import { UserError } from '../../src/errors.ts';
import { describeEachBackend } from '../support/backends.ts';
import { decodeAndDrop, hookCases, runHooked, sourceOf, type HookCase } from '../support/hooks.ts';
import { hookOf, sourceOf as anySource } from '../support/methods.ts';
import { expectEqual, expectNear, expectNewTensors, tidyEachTest } from '../support/random.ts';

const runs = { numRuns: 12 };
const options = (L: number) =>
  fc.record({ layer: fc.integer({ min: 1, max: L - 1 }), rows: fc.constantFrom('last', 'all') });
const cases = hookCases().chain((drawn) => fc.tuple(fc.constant(drawn), options(drawn.L))) as fc.Arbitrary<
  [HookCase, FastvOptions]
>;

const fastvOn = (drawn: HookCase, given: FastvOptions, U = drawn.U) =>
  hookOf(fastv, sourceOf(drawn), U, given);

describeEachBackend('FastV', () => {
  tidyEachTest();

  test('before layer k all tokens, from it on all text and U of the picture, at their old places', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ([drawn, given]) => {
        const { T, P, U, L, input } = drawn;
        const { positions, roles, lengths } = await runHooked(drawn.llama, input, fastvOn(drawn, given));
        expect(lengths).toEqual(Array.from({ length: L }, (_, l) => (l < given.layer ? T : T - P + U)));
        for (const [l, items] of positions.entries()) {
          for (const [b, row] of items.entries()) {
            expect(roles[l][b]).toEqual(row.map((p) => input.roles[b][p]));
            expect(row).toEqual([...new Set(row)].sort((i, j) => i - j));
            expect(roles[l][b].filter((role) => role === 'text')).toHaveLength(T - P);
          }
        }
      }),
      runs,
    );
  });

  test('a token that alone is looked at stays; the order of the heads and the scale change nothing', () => {
    const attention = tf.tensor4d([[[[1, 0, 0], [0, 1, 0], [0.25, 0.25, 0.5]], [[1, 0, 0], [1, 0, 0], [0, 0, 1]]]]); // prettier-ignore
    expect(scoreTokens(attention, 'last').arraySync()).toEqual([[0.125, 0.125, 0.75]]);
    expectNear(scoreTokens(attention, 'all'), [[3.25 / 6, 1.25 / 6, 1.5 / 6]], 'all rows');
    expectEqual(scoreTokens(tf.reverse(attention, 1), 'last'), scoreTokens(attention, 'last'), 'heads');
  });

  test('NaN is refused by the name of the scores, and leaves nothing behind', async () => {
    const [drawn] = fc.sample(
      hookCases({ layers: [3, 3] }).filter(({ P }) => P > 1),
      { numRuns: 1, seed: 4 },
    );
    const broken = { ...drawn.input, hidden: tf.mul<tf.Tensor3D>(drawn.input.hidden, NaN) };
    for (const rows of ['last', 'all'] as const) {
      const run = () => decodeAndDrop({ ...drawn, input: broken }, fastvOn(drawn, { layer: 1, rows }, 1));
      await expectNewTensors(0, 'fastv of NaN', run, true);
      await expect(run()).rejects.toThrow('compress.scores[0, 0] is NaN');
    }
  });
});

const source = anySource({ layers: 4, patches: 16 });

test.each([
  [0, 2, 'fastv: a budget of 0 is not between 1 and 16 visual tokens'],
  [17, 2, 'fastv: a budget of 17 is not between 1 and 16 visual tokens'],
  [2.5, 2, 'fastv: a budget of 2.5 is not between 1 and 16 visual tokens'],
  [
    4,
    0,
    'fastv: layer=0 is not a whole number from 1 to 3: it needs the layer before it, and the decoder has 4 layers',
  ],
  [
    4,
    4,
    'fastv: layer=4 is not a whole number from 1 to 3: it needs the layer before it, and the decoder has 4 layers',
  ],
])('a budget of %d at layer %d is refused', (budget, layer, message) => {
  expect(() => hookOf(fastv, source, budget, { layer, rows: 'last' })).toThrow(new UserError(message));
});
