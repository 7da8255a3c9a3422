/**
 * What a 1.1 B-parameter LLaMA in bf16 needs while it loads on native TensorFlow: a process of its own, whose largest
 * resident set the system reports. Two gigabytes of file, so `npm run test:full` alone does it.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { writeLlama } from '../../bench/cases/load.ts';
import { llamaLayers, llamaShape } from '../../bench/shapes.ts';
import { backendsUnderTest } from '../support/backends.ts';
import { full } from '../support/full.ts';

const root = path.join(import.meta.dirname, '..', '..');

const script = `
  import * as tf from '@tensorflow/tfjs-core';
  import { loadModel } from './src/node/checkpoint.ts';
  import { startBackend } from './src/backend/start.ts';
  await startBackend('tensorflow');
  await loadModel(process.argv[1]);
  const peakBytes = 1024 * process.resourceUsage().maxRSS;
  console.log(JSON.stringify({ peakBytes, weightBytes: tf.memory().numBytes }));
`;

test.runIf(full && backendsUnderTest.includes('tensorflow'))(
  'a 1.1 B LLaMA in bf16 loads within 1.3 times its float32 size',
  async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'vtc-memory-'));
    onTestFinished(() => rm(dir, { recursive: true, force: true }));
    await writeLlama(dir, llamaShape(llamaLayers), 'BF16');
    const command = ['--import', 'tsx', '--input-type=module', '-e', script, dir];
    const { stdout } = await promisify(execFile)(process.execPath, command, { cwd: root });
    const { peakBytes, weightBytes } = JSON.parse(stdout) as { peakBytes: number; weightBytes: number };
    expect(weightBytes).toBeGreaterThan(4.3e9);
    expect(peakBytes / weightBytes).toBeLessThan(1.3);
    expect(peakBytes / weightBytes).toBeGreaterThan(1); // it was measured
  },
  600_000,
);
