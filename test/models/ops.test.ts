/** Single operations against PyTorch's numbers: every tensor of `golden/ops.safetensors`. */
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DecoderConfig, RopeScaling } from '../../src/decoder/config.ts';
import { applyRope, createRope, ropeAt, ropeFrequencies } from '../../src/decoder/rope.ts';
import { samplingProbabilities } from '../../src/decoder/sample.ts';
import { activations } from '../../src/tensor/activation.ts';
import { attend, attendBatched, attendByHead, attendRow, causalMask } from '../../src/tensor/attention.ts';
import { linear, toLinearWeight } from '../../src/tensor/linear.ts';
import { layerNorm, rmsNorm } from '../../src/tensor/norm.ts';
import { parseClipVisionConfig } from '../../src/vision/config.ts';
import { cutPatches } from '../../src/vision/embeddings.ts';
import { clipVisionTable } from '../../src/vision/weights.ts';
import { describeEachBackend } from '../support/backends.ts';
import { expectReadClose, golden, readExpected, type Expected } from '../support/golden.ts';

const bound = 2e-6; // of each tensor's largest value: a few float32 roundings

let file: Expected;
const read = new Set<string>();

beforeAll(async () => {
  file = await readExpected(golden('ops.safetensors'));
});

afterAll(async () => {
  await file.close();
});

/** A tensor of the file; the read is noted. Tensors live until the test file ends. */
async function take<T extends tf.Tensor>(name: string): Promise<T> {
  read.add(name);
  return (await file.float(name)) as T;
}

async function takeNumber(name: string): Promise<number> {
  return (await (await take(name)).data())[0];
}

describeEachBackend('golden operations', () => {
  test('linear', async () => {
    const weight = await take('linear.weight'); // [out, in], as PyTorch has it
    const layer = {
      weight: toLinearWeight(await weight.data<'float32'>(), weight.shape),
      bias: await take<tf.Tensor1D>('linear.bias'),
    };
    await expectReadClose(
      linear(layer, await take('linear.input')),
      await take('linear.output'),
      'linear',
      bound,
    );
  });

  test.each(['small-eps', 'large-eps'])('norms, %s', async (eps) => {
    const layer = `layer_norm.${eps}`;
    const norm = {
      weight: await take<tf.Tensor1D>(`${layer}.weight`),
      bias: await take<tf.Tensor1D>(`${layer}.bias`),
    };
    const y = layerNorm(norm, await take(`${layer}.input`), await takeNumber(`${layer}.eps`));
    await expectReadClose(y, await take(`${layer}.output`), layer, bound);

    const rms = `rms_norm.${eps}`;
    const z = rmsNorm(
      await take(`${rms}.weight`),
      await take(`${rms}.input`),
      await takeNumber(`${rms}.eps`),
    );
    await expectReadClose(z, await take(`${rms}.output`), rms, bound);
  });

  const goldenNames = ['gelu', 'gelu_pytorch_tanh', 'quick_gelu', 'silu'] as const; // the others are aliases or relu
  test.each(goldenNames)('%s', async (name) => {
    const [x, expected] = [await take(`${name}.input`), await take(`${name}.output`)];
    const y = activations[name](x);
    await expectReadClose(y, expected, name, bound);
    // The largest value is 30: look at the small ones too, near 0 and in the negative tail.
    const [from, actual, wanted] = await Promise.all([x.data(), y.data(), expected.data()]);
    for (const [i, value] of wanted.entries()) {
      expect(Math.abs(actual[i] - value), `${name}(${from[i]})`).toBeLessThan(1e-6 + 1e-6 * Math.abs(value));
    }
  });

  test('softmax, as the [CLS] row computes it', async () => {
    // Scores q·kᵀ with one channel: query 1, keys the scores.
    const scores = await take('softmax.input'); // [4, 7]
    const [rows, n] = scores.shape;
    const keys: tf.Tensor4D = tf.reshape(scores, [rows, 1, n, 1]);
    const probabilities = tf.reshape(attendRow(tf.ones([rows, 1, 1]), keys), [rows, n]);
    await expectReadClose(probabilities, await take('softmax.output'), 'softmax', bound);
  });

  test.each(['prefill', 'cached'])('causal attention, %s', async (name) => {
    const at = `causal_attention.${name}`;
    const [q, k, v] = [
      await take<tf.Tensor4D>(`${at}.query`),
      await take<tf.Tensor4D>(`${at}.key`),
      await take<tf.Tensor4D>(`${at}.value`),
    ];
    const mask = causalMask(q.shape[2], k.shape[2]);
    const [weights, output] = [await take(`${at}.weights`), await take(`${at}.output`)];
    for (const run of [attend, attendBatched, attendByHead]) {
      const { context, probabilities } = run(q, k, v, { mask, keepProbabilities: true });
      await expectReadClose(probabilities!, weights, `${run.name}: weights`, bound);
      await expectReadClose(context, output, `${run.name}: output`, bound);
    }
  });

  const ropes: Record<string, { rope_theta: number; rope_scaling: RopeScaling }> = {
    default: { rope_theta: 10000, rope_scaling: { rope_type: 'default' } },
    theta: { rope_theta: 500000, rope_scaling: { rope_type: 'default' } },
    linear: { rope_theta: 10000, rope_scaling: { rope_type: 'linear', factor: 2.5 } },
    llama3: {
      rope_theta: 10000,
      rope_scaling: {
        rope_type: 'llama3',
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 64,
      },
    },
  };

  async function ropeOf(name: string): Promise<{ config: DecoderConfig; at: ReturnType<typeof ropeAt> }> {
    read.add('rope.positions');
    const [positions] = await file.ints('rope.positions');
    const config = { head_dim: 8, ...ropes[name] } as DecoderConfig;
    const rope = createRope(config, Math.max(...positions) + 1);
    return { config, at: ropeAt(rope, tf.tensor2d([positions], undefined, 'int32')) };
  }

  test.each(Object.keys(ropes))('RoPE, %s', async (name) => {
    const { config, at } = await ropeOf(name);
    await expectReadClose(
      tf.tensor(ropeFrequencies(config)),
      await take(`rope.${name}.inv_freq`),
      `${name}: frequencies`,
      1e-7,
    );
    for (const table of ['cos', 'sin'] as const) {
      const half = tf.reshape(at[table], [-1, 4]); // [T, C/2]; PyTorch has it twice, side by side
      await expectReadClose(
        tf.concat([half, half], 1),
        await take(`rope.${name}.${table}`),
        `${name}: ${table}`,
        bound,
      );
    }
  });

  test('rotate-half turns queries and keys', async () => {
    const { at } = await ropeOf('default');
    for (const part of ['query', 'key']) {
      const turned = applyRope(await take(`rotate_half.${part}`), at);
      await expectReadClose(turned, await take(`rotate_half.${part}_output`), part, bound);
    }
  });

  test('patch embedding is the strided convolution', async () => {
    const [D, , patch] = (await take('patch_embedding.weight')).shape;
    const input = await take<tf.Tensor4D>('patch_embedding.input'); // [B, 3, 6, 9]: 2 × 3 patches
    const pixels = tf.transpose(input, [0, 2, 3, 1]) as tf.Tensor4D;
    const side = pixels.shape[1];
    const config = parseClipVisionConfig(
      { hidden_size: D, num_attention_heads: 1, image_size: side, patch_size: patch },
      'ops',
    );
    const kernel = await (await take('patch_embedding.weight')).data<'float32'>();
    const weight = clipVisionTable(config, '').patch_embedding.weight.build(kernel);
    const output = await take<tf.Tensor3D>('patch_embedding.output');
    // CLIP's pictures are square: the left two columns of patches, then the right two.
    for (const [column, patches] of [
      [0, [0, 1, 3, 4]],
      [1, [1, 2, 4, 5]],
    ] as const) {
      const square = tf.slice(pixels, [0, 0, column * patch, 0], [-1, side, side, 3]);
      const expected = tf.gather(output, [...patches], 1);
      await expectReadClose(
        linear({ weight }, cutPatches(square, config)),
        expected,
        `column ${column}`,
        bound,
      );
    }
  });

  test('sampling probabilities', async () => {
    const logits = (await take('sampling.logits')).arraySync() as number[][];
    const cases = file.names.filter((name) => /^sampling\.\d\d\.settings$/.test(name));
    expect(cases).toHaveLength(10);
    for (const name of cases) {
      const [temperature, topK, topP] = await (await take(name)).data();
      const expected = (await take(name.replace('settings', 'probabilities'))).arraySync() as number[][];
      for (const [b, row] of logits.entries()) {
        const actual = samplingProbabilities(Float32Array.from(row), { temperature, topK, topP });
        const what = `${name}, row ${b}`;
        expect(
          Array.from(actual, (p) => p > 0),
          what,
        ).toEqual(expected[b].map((p) => p > 0));
        for (const [id, p] of actual.entries()) expect(p, what).toBeCloseTo(expected[b][id], 6);
      }
    }
  });

  test('no tensor of the file is left out', () => {
    expect(file.names.filter((name) => !read.has(name))).toEqual([]);
  });
});
