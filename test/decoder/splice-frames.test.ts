/** Several pictures in one prompt. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { spliceFrames } from '../../src/decoder/splice-frames.ts';
import { spliceImage } from '../../src/decoder/splice.ts';
import { cutImage } from '../../src/decoder/cut.ts';
import { UserError } from '../../src/errors.ts';
import { picking } from '../../src/tensor/token-matrix.ts';
import { describeEachBackend } from '../support/backends.ts';
import { axis, draw, randoms, tidyEachTest } from '../support/random.ts';
import { tinyLlama } from '../support/tiny.ts';

describeEachBackend('spliceFrames', () => {
  tidyEachTest();

  test('puts every token where its text or its picture stands, and says whose it is', () => {
    fc.assert(
      fc.property(randoms, axis(3), axis(3), axis(3), (random, B, F, most) => {
        const llama = tinyLlama(random);
        const E = llama.config.hidden_size;
        const table = (llama.weights.embed_tokens as tf.Tensor2D).arraySync();
        const count = (max: number) => Math.floor(random() * (max + 1));
        const texts = Array.from({ length: F + 1 }, () => count(2)); // tokens of each stretch of text
        const words = (n: number) => Array.from({ length: n }, () => count(llama.config.vocab_size - 1));
        const runs = Array.from({ length: B }, () =>
          shuffled(random, [most, ...Array.from({ length: F - 1 }, () => 1)]),
        );
        const prompts = runs.map(() => {
          const [before, ...rest] = texts.map(words);
          return { before, between: rest.slice(0, -1), after: rest.at(-1)! };
        });
        const Z = most + F - 1;
        const visual = tf.tensor3d(draw(random, [B, Z, E]));
        const { hidden, positions, roles, frames, nextPosition } = spliceFrames(llama, prompts, visual, runs);
        const values = visual.arraySync();
        for (const [b, { before, between, after }] of prompts.entries()) {
          const pictures = runs[b].map((n, f) => ({ f, rows: values[b].splice(0, n) }));
          const text = (ids: number[]) => ids.map((id) => ({ row: table[id], frame: undefined }));
          const expected = [
            ...text(before),
            ...pictures.flatMap(({ f, rows }) => [
              ...rows.map((row) => ({ row, frame: f })),
              ...text([...between, after][f]),
            ]),
          ];
          expect(hidden.arraySync()[b]).toEqual(expected.map(({ row }) => row));
          expect(frames![b]).toEqual(expected.map(({ frame }) => frame));
          expect(roles[b]).toEqual(expected.map(({ frame }) => (frame === undefined ? 'text' : 'image')));
          expect(positions.arraySync()[b]).toEqual([...expected.keys()]);
          expect(nextPosition).toBe(expected.length);
        }
      }),
      { numRuns: 30 },
    );
  });

  test('of one picture is spliceImage', () => {
    fc.assert(
      fc.property(randoms, axis(2), axis(3), (random, B, U) => {
        const llama = tinyLlama(random);
        const prompts = Array.from({ length: B }, () => ({ before: [1, 5], after: [7] }));
        const visual = tf.tensor3d(draw(random, [B, U, llama.config.hidden_size]));
        const [one, several] = [spliceImage(llama, prompts, visual), spliceFrames(llama, prompts, visual)];
        expect(several.hidden.arraySync()).toEqual(one.hidden.arraySync());
        expect(several.positions.arraySync()).toEqual(one.positions.arraySync());
        expect(several.roles).toEqual(one.roles);
        expect(several.frames).toEqual(
          one.roles.map((row) => row.map((role) => (role === 'image' ? 0 : undefined))),
        );
      }),
      { numRuns: 10 },
    );
  });

  test('a cut leaves each token its frame', async () => {
    const llama = tinyLlama(() => 0.25);
    const visual = tf.ones([2, 2, llama.config.hidden_size]) as tf.Tensor3D;
    const state = spliceFrames(llama, [{ before: [1], between: [[5]], after: [2] }], visual);
    expect(state.frames).toEqual([[undefined, 0, 0, undefined, 1, 1, undefined]]);
    const cut = await cutImage(state, picking([[1, 2]], 4));
    expect(cut.frames).toEqual([[undefined, 0, undefined, 1, undefined]]);
    expect(cut.roles).toEqual([['text', 'image', 'text', 'image', 'text']]);
  });

  describe('refuses', () => {
    const llama = tinyLlama(() => 0.25);
    const of = (rows: number, n: number) => tf.ones([rows, n, llama.config.hidden_size]) as tf.Tensor3D;
    const clip = { before: [1], between: [[]], after: [2] };

    test('visual tokens of other pictures than the prompts have', () => {
      expect(() => spliceFrames(llama, [clip], of(3, 2))).toThrow(
        new UserError('6 visual tokens are there, but the prompts’ pictures have 4'),
      );
    });
    test('prompts that take unlike many positions', () => {
      expect(() =>
        spliceFrames(llama, [clip, clip], of(1, 5), [
          [1, 1],
          [1, 2],
        ]),
      ).toThrow(
        // prettier-ignore
        new UserError('the prompts of a batch take 4, 5 positions: they must take equally many'),
      );
      const longer = { ...clip, between: [[7]] };
      expect(() => spliceFrames(llama, [clip, longer], of(4, 1))).toThrow(
        /^the prompts of a batch have 2, 3 tokens/,
      );
    });
  });
});

function shuffled(random: () => number, list: number[]): number[] {
  const at = Math.floor(random() * list.length);
  return [...list.slice(at), ...list.slice(0, at)];
}
