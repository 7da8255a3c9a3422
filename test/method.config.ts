/** `npm run test:method`: the pruning mathematics and the kit alone, what runs no model, on one backend, in seconds. */
import { defineConfig } from 'vitest/config';

const withModels = [
  'downsample',
  'between-layers',
  'golden-decoder',
  'field-golden',
  'fastv',
  'random-in-depth',
  'stack',
  'tome',
  'vtw',
];

export default defineConfig({
  test: {
    include: ['test/compress/*.test.ts', 'test/testing/*.test.ts'],
    exclude: [...withModels.map((name) => `test/compress/${name}.test.ts`), 'test/testing/method.test.ts'],
    env: { VTC_TEST_BACKENDS: process.env['VTC_TEST_BACKENDS'] ?? 'cpu' },
    setupFiles: ['test/setup.ts'],
    pool: 'forks',
    isolate: false, // one engine for all files: its start is most of the time
    maxWorkers: 2,
  },
});
