import { beforeAll, describe } from 'vitest';
import { messageOf } from '../../src/errors.ts';
import { startBackend, type BackendName } from '../../src/backend/start.ts';

/** Those that `VTC_TEST_BACKENDS` names, separated by commas, must run; without it the list is made below. */
const asked = process.env['VTC_TEST_BACKENDS']?.split(',') as BackendName[] | undefined;
for (const name of asked ?? []) await startBackend(name);

/** Why the tensorflow backend is left out; undefined where it runs. With VTC_TEST_TENSORFLOW set it must run. */
const missing = asked ? undefined : await startBackend('tensorflow').then(() => undefined, messageOf);
if (missing !== undefined) {
  if (process.env['VTC_TEST_TENSORFLOW']) throw new Error(missing);
  console.warn(`skipping the tensorflow backend: ${missing}`);
}

/** The backends that the numeric tests run on; wasm always, tensorflow where it is installed. */
export const backendsUnderTest: BackendName[] =
  asked ?? (missing === undefined ? ['wasm', 'tensorflow'] : ['wasm']);
if (missing !== undefined) await startBackend('wasm'); // for tensors that a file makes before its tests begin

/** The same tests on each backend. */
export function describeEachBackend(title: string, body: (backend: BackendName) => void): void {
  describe.each(backendsUnderTest)(`${title} on %s`, (backend) => {
    beforeAll(async () => {
      await startBackend(backend);
    });
    body(backend);
  });
}
