import { expect, test, vi } from 'vitest';
import { messageOf } from '../../src/errors.ts';
import { startBackend } from '../../src/backend/start.ts';

vi.mock('../../src/backend/prove.ts', () => ({
  prove: () => Promise.reject(new Error('everything is computed wrong')),
}));

test('auto tries each but webgpu, and tells why none runs', async () => {
  const told = await startBackend('auto').then(() => 'nothing', messageOf);
  expect(told).toMatch(
    /^backend "auto" does not run: tensorflow: .+; wasm: everything is computed wrong; cpu: everything is computed wrong$/,
  );
});
