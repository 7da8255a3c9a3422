/** WebGPU on an adapter that computes on the CPU: slow, and of the same numbers. */
import { beforeAll, describe, expect, test } from 'vitest';
import { isSoftware } from '../../src/backend/webgpu.ts';
import type { Parity } from '../models/parity.ts';
import { runOnWebgpu } from '../support/webgpu.ts';

interface Found {
  started: { name: string; device: string; version: string };
  reads: Record<string, unknown> & { overLimit: string[]; lost: string[]; largest: number };
  models: Record<string, Parity>;
  shipped: { logits: number[]; wasm: number[] };
}

/** @returns undefined where it was not asked for */
async function find(): Promise<Found | undefined> {
  if (!process.env['VTC_TEST_WEBGPU']) {
    console.warn(
      'skipping the webgpu backend, whose models take a minute in software: VTC_TEST_WEBGPU=1 runs it',
    );
    return undefined;
  }
  const { stdout } = await runOnWebgpu(['test/backend/webgpu-process.ts'], { VTC_CLS_WEBGPU: 'software' });
  const found = JSON.parse(stdout) as Found | { missing: string };
  if (!('missing' in found)) return found;
  throw new Error(found.missing);
}

const found = await find();

describe.runIf(found)('webgpu', () => {
  let { started, reads, models, shipped }: Found = {} as Found;
  beforeAll(() => ({ started, reads, models, shipped } = found!));

  test('runs where software is asked for, says so, and lets the process end', () => {
    expect(started).toMatchObject({
      name: 'webgpu',
      device: expect.stringMatching(/^CPU, software \(/) as string,
    });
  });

  test('refuses an adapter that computes on the CPU otherwise', async () => {
    const start = ['src/cli/main.ts', 'doctor', '--backend', 'webgpu'];
    const error = await runOnWebgpu(start, { VTC_CLS_WEBGPU: undefined }).then(
      () => '',
      ({ stderr }: { stderr: string }) => stderr,
    );
    expect(error).toMatch(
      /^error: backend "webgpu" does not run: webgpu: its adapter, .+, computes on the CPU and is slower than wasm; VTC_CLS_WEBGPU=software in the environment takes it nevertheless, for tests$/m,
    );
  });

  const failed = (reason: string) =>
    new RegExp(
      `^UserError: the webgpu device failed, so that its numbers are wrong: ${reason}; use another --backend$`,
    );

  test('a buffer over the limits makes every read fail, until it is started anew', () => {
    expect(reads['three']).toBe(3);
    expect(reads.overLimit).toHaveLength(3);
    for (const told of reads.overLimit) {
      expect(told).toMatch(failed('Buffer size \\(\\d+\\) exceeds the max buffer size limit \\(\\d+\\)'));
    }
    expect(reads['mended']).toBe(3);
  });

  test('a lost device makes every read fail, until it is started anew', () => {
    expect(reads.lost).toHaveLength(2);
    for (const told of reads.lost) expect(told).toMatch(failed('it is lost \\(.+\\)'));
    expect(reads['again']).toBe(3);
  });

  test('reading in place is an error that says what to do', () => {
    expect(reads['dataSync']).toBe(
      'UserError: webgpu cannot read a tensor in place (dataSync), as this asks for: use another --backend',
    );
    expect(reads['held']).toEqual([1, 2]);
  });

  test('argMax of a vector is a scalar', () => {
    expect(reads['argMax']).toEqual([]);
    expect(reads['argMin']).toEqual([1]);
  });

  test('the buffers are as large as the adapter has them, and a matrix that fits none is refused', () => {
    expect(reads.largest).toBeGreaterThan(128 * 2 ** 20); // WebGPU's default
    expect(reads['fits']).toBe('no error, but undefined');
    expect(reads['memory']).toBe(
      `UserError: DIR has a matrix of ${reads.largest + 1} bytes, but a buffer of this webgpu device holds ${reads.largest}: use another --backend`,
    );
  });

  test("golden models have Hugging Face's numbers", () => {
    expect(Object.keys(models)).toHaveLength(4);
    for (const [model, { comparisons, unread }] of Object.entries(models)) {
      expect(unread).toEqual([]);
      expect(comparisons.length).toBeGreaterThan(5);
      for (const { name, error, equal } of comparisons) {
        if (error !== undefined) expect(error, `${model} ${name}`).toBeLessThan(1e-5);
        if (equal !== undefined) expect(equal, `${model} ${name}`).toBe(true);
      }
    }
  });

  test("the shipped model's logits are wasm's", () => {
    const largest = Math.max(...shipped.wasm.map(Math.abs));
    expect(largest).toBeGreaterThan(1);
    expect(shipped.logits).toHaveLength(shipped.wasm.length);
    for (const [i, x] of shipped.logits.entries())
      expect(Math.abs(x - shipped.wasm[i]) / largest).toBeLessThan(1e-4);
  });
});

test.each([
  ['llvmpipe', { description: 'llvmpipe (LLVM 15.0.6, 256 bits)' }, true],
  ['SwiftShader', { architecture: 'swiftshader' }, true],
  ["Windows' own", { description: 'Microsoft Basic Render Driver' }, true],
  ['one that says so', { description: 'X', isFallbackAdapter: true }, true],
  ['an H100', { vendor: 'nvidia', architecture: 'hopper', description: 'NVIDIA H100' }, false],
  ['an M1', { vendor: 'apple', architecture: 'metal-3', isFallbackAdapter: false }, false],
])('%s: whether an adapter computes on the CPU', (_, info, expected) => {
  expect(isSoftware({ vendor: '', architecture: '', device: '', description: '', ...info })).toBe(expected);
});
