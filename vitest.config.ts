import { defineConfig } from 'vitest/config';
import { fullOrCI } from './test/support/full.ts';

/** Rooms whose tests compute: their files share a process and its engine, whose start is half of their time. */
const rooms = 'checkpoint,compress,decoder,eval,image,io,models,tensor,testing,text,train,vision,world';
const shared = `test/{${rooms}}/**/*.test.ts`;

export default defineConfig({
  test: {
    globalSetup: ['test/build.ts'],
    setupFiles: ['test/setup.ts'],
    testTimeout: fullOrCI ? 600_000 : 60_000, // against what hangs, not what is slow
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      { extends: true, test: { name: 'shared', include: [shared], isolate: false } },
      { extends: true, test: { name: 'own', include: ['test/**/*.test.ts'], exclude: [shared] } },
    ],
  },
});
