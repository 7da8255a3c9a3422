import { defineConfig } from 'vitest/config';
import { fullOrCI } from './test/support/full.ts';

/** Tests that start commands or an engine, replace a module, or count all that an engine holds: a process for each file. */
const own = [
  'test/*.test.ts',
  'test/{backend,bench,browser,cli,fuzz,large,node,page,report,study}/**/*.test.ts',
  'test/{checkpoint/keeping,image/sharp}.test.ts',
];

export default defineConfig({
  test: {
    globalSetup: ['test/build.ts'],
    setupFiles: ['test/setup.ts'],
    testTimeout: fullOrCI ? 600_000 : 60_000, // against what hangs, not what is slow
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      // The others compute: they share a process and its engine, whose start is half of their time.
      {
        extends: true,
        test: { name: 'shared', include: ['test/**/*.test.ts'], exclude: own, isolate: false },
      },
      { extends: true, test: { name: 'own', include: own } },
    ],
  },
});
