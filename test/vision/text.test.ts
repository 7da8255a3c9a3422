import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { findTextEnds, runClipText } from '../../src/vision/text.ts';
import * as twin from '../reference/text.ts';
import { describeEachBackend } from '../support/backends.ts';
import {
  expectNear,
  expectNewTensors,
  randoms,
  seededRandom,
  tidyEachTest,
  toArrays,
} from '../support/random.ts';
import { textConfigs, tinyText } from '../support/tiny.ts';

const runs = { numRuns: 30 };

/** Texts of 0 to 7 words, id 7 at the end of each. */
const texts = fc.array(
  fc.array(fc.nat(6), { maxLength: 7 }).map((words) => [0, ...words, 7]),
  { minLength: 1, maxLength: 3 },
);
const end = (ids: number[]) => ids.indexOf(7);

describeEachBackend('CLIP text', () => {
  tidyEachTest();

  test('a whole tower equals its twin at every depth, and pools the state at the end', () => {
    fc.assert(
      fc.property(randoms, textConfigs, texts, (random, config, ids) => {
        const text = tinyText(random, config);
        const states: tf.Tensor[] = [];
        const output = runClipText(text, ids, (hidden) => states.push(tf.keep(hidden.clone())));
        const arrays = toArrays(text.weights);
        const T = Math.max(...ids.map((row) => row.length));
        const filled = ids.map((row) => [...row, ...Array.from({ length: T - row.length }, () => 0)]);
        const expected = filled.map((row) => twin.runClipText(arrays, row, config));
        expect(states).toHaveLength(config.num_hidden_layers + 1);
        for (const [i, state] of states.entries()) {
          const wanted = expected.map((item) => item.states[i]);
          expectNear(state, wanted, `hidden ${i}`, 3e-5);
        }
        const hidden = expected.map((item) => item.hidden);
        expectNear(output.hidden, hidden, 'output', 3e-5);
        expectNear(
          output.pooled,
          hidden.map((rows, b) => rows[end(ids[b])]),
          'pooled',
          3e-5,
        );
        tf.dispose(states);
      }),
      runs,
    );
  });

  test('what follows the end of a text, and the texts beside it, cannot matter', () => {
    const padding = fc.array(fc.nat(7), { maxLength: 7 });
    fc.assert(
      fc.property(randoms, textConfigs, texts, padding, (random, config, ids, rest) => {
        const text = tinyText(random, config);
        const single = ids.map((row) => runClipText(text, [row]).pooled.arraySync()[0]);
        const padded = ids.map((row) => [...row, ...rest.slice(0, 9 - row.length)]);
        expectNear(runClipText(text, padded).pooled, single, 'pooled');
      }),
      runs,
    );
  });

  test('what a token is reaches every state from its place on, and none before', () => {
    fc.assert(
      fc.property(
        randoms,
        fc.array(fc.nat(6), { minLength: 2, maxLength: 7 }),
        fc.nat(),
        (random, words, pick) => {
          const text = tinyText(random);
          const at = pick % words.length;
          const changed = words.map((id, t) => (t === at ? (id + 1) % 7 : id));
          const [before, after] = [words, changed].map(
            (row) => runClipText(text, [[...row, 7]]).hidden.arraySync()[0],
          );
          for (const [t, row] of before.entries()) {
            const difference = Math.max(...row.map((x, d) => Math.abs(x - after[t][d])));
            if (t < at) expect(difference, `state ${t}`).toBeLessThan(1e-5);
            else expect(difference, `state ${t}`).toBeGreaterThan(0);
          }
        },
      ),
      runs,
    );
  });

  test('a text that is too long is refused, the longest is not', () => {
    const text = tinyText(seededRandom(1));
    const long = [0, 1, 1, 1, 1, 1, 1, 1, 7];
    expect(runClipText(text, [long]).hidden.shape).toEqual([1, 9, 8]);
    expect(() =>
      runClipText(text, [
        [0, 7],
        [1, ...long],
      ]),
    ).toThrow(new UserError('a text of 10 tokens is longer than the 9 that CLIP reads'));
  });

  test('only the output is left in memory', async () => {
    const text = tinyText(seededRandom(1));
    await expectNewTensors(2, 'runClipText', () => runClipText(text, [[0, 7]]));
    await expectNewTensors(0, 'runClipText that throws', () => runClipText(text, [[0, 1]]), true);
    const broken = { ...text, weights: { ...text.weights, layers: [text.weights.layers[0], {} as never] } };
    await expectNewTensors(0, 'runClipText that throws halfway', () => runClipText(broken, [[0, 7]]), true);
  });
});

test('a text ends at its first end-of-text token', () => {
  expect(
    findTextEnds(
      [
        [58, 3, 59, 59],
        [58, 60, 59, 3],
      ],
      59,
    ),
  ).toEqual([2, 2]);
  expect(() => findTextEnds([[59], [58, 3]], 59)).toThrow(
    new UserError('the text of tokens 58 3 has no end-of-text token (59)'),
  );
});

test('where the config says 2, it ends at the first of its highest ids', () => {
  expect(
    findTextEnds(
      [
        [58, 2, 59, 59],
        [58, 61, 59, 2],
      ],
      2,
    ),
  ).toEqual([2, 1]);
  fc.assert(
    fc.property(fc.array(fc.nat(99), { minLength: 1, maxLength: 8 }), (row) => {
      const [end] = findTextEnds([row], 2);
      expect(row.every((id, t) => (t < end ? id < row[end] : id <= row[end]))).toBe(true);
    }),
  );
});
