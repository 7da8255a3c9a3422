import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { expect, test, vi } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { startBackend } from '../../src/backend/start.ts';
import { backendTraits } from '../../src/tensor/traits.ts';

test('a backend that somebody else started gets what is right on any', async () => {
  await tf.setBackend('cpu');
  expect(backendTraits()).toMatchObject({ fastBatchedMatMul: false, columnBlockBytes: Infinity });
  expect(() => backendTraits().requireMemory({ matrices: [2 ** 60], others: 0 }, 'DIR')).not.toThrow();
});

test.each([
  [
    'cpu',
    /^DIR needs about 4\.00 GiB \(2\.50 GiB of float32 weights\), but this process can have 1\.00 GiB of memory$/,
  ],
  [
    'wasm',
    /^DIR needs about 4\.50 GiB on the wasm backend \(2\.00 GiB of float32 weights, each with a packed copy\), whose heap holds 3\.75 GiB/,
  ],
])('a model too large for %s is refused with its numbers', async (name, message) => {
  await startBackend(name);
  const GiB = 1024 ** 3;
  const refuse = (): void =>
    backendTraits().requireMemory({ matrices: [GiB / 2, 1.5 * GiB], others: GiB / 2 }, 'DIR');
  const memory = vi.spyOn(process, 'constrainedMemory').mockReturnValue(GiB);
  expect(refuse).toThrow(UserError);
  expect(refuse).toThrow(message);
  memory.mockRestore();
  expect(() => backendTraits().requireMemory({ matrices: [1e6], others: 1e6 }, 'DIR')).not.toThrow();
});
