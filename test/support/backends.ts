import { createRequire } from 'node:module';
import { beforeAll, describe } from 'vitest';
import { startBackend, type BackendName } from '../../src/tensor/backend.ts';

const require = createRequire(import.meta.url);

function installed(name: string): boolean {
  try {
    require.resolve(name);
    return true;
  } catch {
    return false;
  }
}

const hasTensorflow = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'].some(installed);
if (!hasTensorflow) console.warn('skipping the tensorflow backend: no tfjs-node package is installed');

/** The backends that the numeric tests run on; wasm always, tensorflow where it is installed. */
export const backendsUnderTest: BackendName[] = hasTensorflow ? ['wasm', 'tensorflow'] : ['wasm'];

/** The same tests on each backend; asked for by name, a backend that does not run fails them. */
export function describeEachBackend(title: string, body: (backend: BackendName) => void): void {
  describe.each(backendsUnderTest)(`${title} on %s`, (backend) => {
    beforeAll(async () => {
      await startBackend(backend);
    });
    body(backend);
  });
}
