/** Weights kept as the file holds them, or read layer by layer, and float32 ones: the same model, to the bit in prefill. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test, vi } from 'vitest';
import type { Keeping } from '../../src/checkpoint/keeping.ts';
import { generate, prefill } from '../../src/decoder/generate.ts';
import { embedText } from '../../src/decoder/splice.ts';
import { UserError } from '../../src/errors.ts';
import { loadModel } from '../../src/node/checkpoint.ts';
import { openSafetensors, writeSafetensors } from '../../src/node/safetensors.ts';
import { scope } from '../../src/tensor/scope.ts';
import { createTrace } from '../../src/tensor/trace.ts';
import { describeEachBackend } from '../support/backends.ts';
import { golden } from '../support/golden.ts';
import { makeFolder } from '../support/pictures.ts';

/** A golden LLaVA whose weights are written in 16 bits. */
async function halveFolder(name: string, dtype: 'F16' | 'BF16'): Promise<string> {
  const dir = await makeFolder();
  await writeFile(path.join(dir, 'config.json'), await readFile(path.join(golden(name), 'config.json')));
  const file = await openSafetensors(path.join(golden(name), 'model.safetensors'));
  const tensors = new Map();
  for (const [tensor, { shape }] of file.tensors) {
    tensors.set(tensor, { dtype, shape, data: await file.readFloat32(tensor) });
  }
  await file.close();
  await writeSafetensors(path.join(dir, 'model.safetensors'), tensors);
  return dir;
}

const prompt = [1, 5, 9, 2, 7, 11, 3, 8, 4, 6, 10, 12];

/** Hidden states of every layer, the first logits, and what follows. */
async function observe(dir: string, weightsAs?: Keeping) {
  using own = scope();
  const model = own(await loadModel(dir, undefined, { weightsAs }));
  const { numBytes } = tf.memory();
  const decoder = model.decoder!;
  const trace = own(createTrace((name) => name === 'decoder.hidden.LL'));
  const session = own(await prefill(decoder, own(embedText(decoder, [prompt])), { maxNewTokens: 6, trace }));
  const hidden = await Promise.all([...trace.tensors].map(([, tensor]) => tensor.data()));
  const logits = await session.logits.data<'float32'>();
  const tokens = await generate(decoder, own(embedText(decoder, [prompt])), {
    maxNewTokens: 6,
    stopTokens: [],
  });
  return { kept: model.weightsAs, numBytes, hidden, logits, tokens };
}

describeEachBackend('weights', (backend) => {
  test.each([
    ['BF16', 'stored'],
    ['F16', 'stored'],
    ['BF16', 'streamed'],
    ['F16', 'streamed'],
  ] as const)('in %s, %s, make the same model', async (dtype, weightsAs) => {
    const dir = await halveFolder('llava-v5keys', dtype);
    const float32 = await observe(dir, 'float32');
    const before = tf.memory();
    const seen = await observe(dir, weightsAs);
    await new Promise((resolve) => setTimeout(resolve, 50)); // what was read ahead is freed when it is there
    expect(tf.memory()).toMatchObject({ numBytes: before.numBytes, numTensors: before.numTensors });
    expect(seen.kept).toBe(weightsAs);
    expect(seen.numBytes - before.numBytes).toBeLessThan(0.65 * (float32.numBytes - before.numBytes));
    expect(seen.tokens).toEqual(float32.tokens);
    const exact = backend === 'tensorflow';
    expect(seen.hidden.length).toBe(float32.hidden.length);
    for (const [l, values] of seen.hidden.entries()) {
      if (exact) expect(values).toEqual(float32.hidden[l]);
      else expect(nearness(values, float32.hidden[l])).toBeLessThan(1e-5);
    }
    expect(nearness(seen.logits, float32.logits)).toBeLessThan(exact ? 3e-6 : 1e-5);
  });

  test('stay in 16 bits by themselves where float32 would be too much', async () => {
    const dir = await halveFolder('llava-v5keys', 'BF16');
    expect((await observe(dir)).kept).toBe('float32');
    if (backend === 'wasm') return; // its heap is what it is: wasm-heap.ts
    const limit = vi.spyOn(process, 'constrainedMemory');
    const { numBytes } = await observe(dir, 'float32');
    limit.mockReturnValue(Math.round(1.5 * numBytes));
    try {
      expect((await observe(dir)).kept).toBe('stored');
      limit.mockReturnValue(Math.round(0.7 * numBytes));
      await expect(observe(dir, 'float32')).rejects.toThrow(
        /needs about .* of float32 weights\), but this process can have 0\.00 GiB of memory; with --weights-as stored it fits$/,
      );
      limit.mockReturnValue(1000);
      await expect(observe(dir)).rejects.toThrow(/can have 0\.00 GiB of memory$/);
    } finally {
      limit.mockRestore();
    }
  });

  test('of a file in float32 are what they are, stored or not', async () => {
    const [stored, float32] = [
      await observe(golden('llava-v5keys'), 'stored'),
      await observe(golden('llava-v5keys')),
    ];
    expect(stored.numBytes).toBe(float32.numBytes);
    expect(stored.logits).toEqual(float32.logits);
  });

  test('of a tower alone cannot be streamed', async () => {
    await expect(loadModel(golden('clip-vision'), undefined, { weightsAs: 'streamed' })).rejects.toThrow(
      new UserError(`--weights-as streamed is for a decoder's layers, and ${golden('clip-vision')} has none`),
    );
  });
});

/** The largest difference, as a share of the largest value. */
function nearness(values: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [worst, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    worst = Math.max(worst, Math.abs(values[i] - expected[i]));
    largest = Math.max(largest, Math.abs(expected[i]));
  }
  return worst / largest;
}
