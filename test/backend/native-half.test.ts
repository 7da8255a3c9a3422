/** Our own operations in TensorFlow: every form that this processor runs, and what is said of one that it does not. */
import { beforeAll, describe, expect, test } from 'vitest';
import path from 'node:path';
import { runProgram } from '../../src/cli/programs.ts';
import { productsInUse } from '../../src/backend/native-half.ts';
import { startBackend } from '../../src/backend/start.ts';
import { backendsUnderTest } from '../support/backends.ts';

const start = (form: string) =>
  runProgram(process.execPath, ['--import', 'tsx', path.join(import.meta.dirname, 'half-forms-process.ts')], {
    env: { ...process.env, VTC_CLS_KERNEL: form },
  });

describe.runIf(backendsUnderTest.includes('tensorflow'))('products with 16-bit weights', () => {
  let chosen: string | undefined;
  beforeAll(async () => {
    await startBackend('tensorflow');
    chosen = productsInUse().form;
    if (chosen === undefined) console.warn('skipping the forms of products: none were compiled here');
  });

  test('where nothing is compiled, widening serves', async () => {
    const ran = await start('none');
    const { form, error } = JSON.parse(ran!.stdout) as { form?: string; error: number };
    expect(form).toBeUndefined();
    expect(error).toBeLessThan(1e-6);
  });

  test.each(['portable', 'avx2', 'avx512', 'neon'])(
    '%s agrees with float64, or is not of this processor',
    async (form) => {
      if (chosen === undefined) return;
      const ran = await start(form);
      if (ran?.code !== 0) {
        expect(ran?.reason).toMatch(
          new RegExp(`VTC_CLS_KERNEL is "${form}"; this processor runs .*${chosen}`),
        );
        console.warn(`skipping the form ${form}: this processor does not run it`);
        return;
      }
      const {
        form: used,
        error,
        count,
      } = JSON.parse(ran.stdout) as { form: string; error: number; count: number };
      expect(used).toBe(form);
      expect(count).toBe(2 * (300 + 66 + 3 * 257 + 64 + 35 + 8 + 2800));
      expect(error).toBeLessThan(1e-6);
    },
  );
});
