import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { DecoderConfig } from '../../src/decoder/config.ts';
import { applyRope, createRope, ropeAt, ropeFrequencies } from '../../src/decoder/rope.ts';
import { dot } from '../reference/ops.ts';
import * as twin from '../reference/rope.ts';
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
import { llamaConfigs, tinyLlamaConfig } from '../support/tiny.ts';

const runs = { numRuns: 50 };
const position = fc.nat(30);

/** One vector, turned to its place at a position. */
function turn(config: DecoderConfig, x: number[], p: number): number[] {
  const at = ropeAt(createRope(config, p + 1), tf.tensor2d([[p]], [1, 1], 'int32'));
  return applyRope(tf.tensor4d([[[x]]]), at).arraySync()[0][0][0];
}

/** |actual − expected| where float32 angles of up to 60 radians are off by up to 60·2⁻²⁴ = 4e-6 each. */
function expectClose(actual: number, expected: number, what: string): void {
  expect(Math.abs(actual - expected), what).toBeLessThan(1e-4);
}

test('the frequencies equal their twins: default, linear and llama3 scaling', () => {
  fc.assert(
    fc.property(
      llamaConfigs,
      fc.constantFrom(100, 10_000, 500_000),
      fc.constantFrom(16, 64, 1024),
      (config, rope_theta, original_max_position_embeddings) => {
        const rope_scaling = { ...config.rope_scaling };
        if (rope_scaling.rope_type === 'llama3')
          Object.assign(rope_scaling, { original_max_position_embeddings });
        const rope = { ...config, head_dim: 16, rope_theta, rope_scaling };
        const expected = twin.frequencies(rope);
        for (const [i, theta] of ropeFrequencies(rope).entries()) {
          expect(Math.abs(theta / expected[i] - 1), `θ${i}`).toBeLessThan(1e-6);
        }
      },
    ),
    { numRuns: 100 },
  );
});

describeEachBackend('RoPE', () => {
  tidyEachTest();

  test('turning equals its twin, each token by its own position', () => {
    fc.assert(
      fc.property(randoms, llamaConfigs, axis(3), axis(5), (random, config, B, T) => {
        const x = draw(random, [B, config.num_attention_heads, T, config.head_dim]);
        const positions = draw(random, [B, T]).map((row) => row.map((u) => Math.floor((u + 1) * 15)));
        const theta = twin.frequencies(config);
        const at = ropeAt(createRope(config, 30), tf.tensor2d(positions, [B, T], 'int32'));
        const expected = x.map((heads, b) =>
          heads.map((head) => head.map((row, t) => twin.rotateHalf(row, positions[b][t], theta))),
        );
        expectNear(applyRope(tf.tensor4d(x), at), expected, 'turned');
      }),
      runs,
    );
  });

  test('interleaved and rotate-half are one turn under a permutation of the channels', () => {
    fc.assert(
      fc.property(randoms, llamaConfigs, position, (random, config, p) => {
        const x = draw(random, [config.head_dim]);
        const interleaved = twin.rotateInterleaved(x, p, twin.frequencies(config));
        for (const [c, value] of turn(config, twin.deinterleave(x), p).entries()) {
          expectClose(value, twin.deinterleave(interleaved)[c], `channel ${c}`);
        }
      }),
      runs,
    );
  });

  test('a score depends on the relative position only', () => {
    fc.assert(
      fc.property(randoms, llamaConfigs, position, position, position, (random, config, m, n, shift) => {
        const [q, k] = draw(random, [2, config.head_dim]);
        const here = dot(turn(config, q, m), turn(config, k, n));
        const there = dot(turn(config, q, m + shift), turn(config, k, n + shift));
        expectClose(here, there, 'score');
      }),
      runs,
    );
  });

  test('a turn keeps lengths, and position 0 turns nothing', () => {
    fc.assert(
      fc.property(randoms, llamaConfigs, position, (random, config, p) => {
        const x = draw(random, [config.head_dim]);
        const turned = turn(config, x, p);
        expectClose(dot(turned, turned), dot(x, x), 'length²');
        expect(turn(config, x, 0)).toEqual(x);
      }),
      runs,
    );
  });

  test('linear scaling by f at position f·p is the plain turn at p', () => {
    fc.assert(
      fc.property(
        randoms,
        llamaConfigs,
        fc.integer({ min: 1, max: 5 }),
        position,
        (random, config, factor, p) => {
          const x = draw(random, [config.head_dim]);
          const plain: DecoderConfig = { ...config, rope_scaling: { rope_type: 'default' } };
          const scaled: DecoderConfig = { ...config, rope_scaling: { rope_type: 'linear', factor } };
          const expected = turn(plain, x, p);
          for (const [c, value] of turn(scaled, x, factor * p).entries()) {
            expectClose(value, expected[c], `channel ${c}`);
          }
        },
      ),
      runs,
    );
  });

  test('a longer table begins with the shorter one', () => {
    const [short, long] = [createRope(tinyLlamaConfig, 3), createRope(tinyLlamaConfig, 9)];
    expectEqual(tf.slice(long.cos, [0, 0], [3, 2]), short.cos, 'cos');
    expectEqual(tf.slice(long.sin, [0, 0], [3, 2]), short.sin, 'sin');
  });

  test('only the results are left in memory', async () => {
    const rope = createRope(tinyLlamaConfig, 4);
    const positions = tf.tensor2d([[0, 3]], [1, 2], 'int32');
    const at = tf.tidy(() => ropeAt(rope, positions));
    const x = tf.ones([1, 2, 2, 4]) as tf.Tensor4D;
    await expectNewTensors(2, 'createRope', () => createRope(tinyLlamaConfig, 4));
    await expectNewTensors(2, 'ropeAt', () => tf.tidy(() => ropeAt(rope, positions)));
    await expectNewTensors(1, 'applyRope', () => applyRope(x, at));
    const wide = tf.ones([1, 2, 2, 6]) as tf.Tensor4D;
    await expectNewTensors(0, 'applyRope that throws', () => applyRope(wide, at), true);
  });
});
