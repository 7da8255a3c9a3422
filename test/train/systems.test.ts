/** Every trained system's training, for a moment: all parts run, and a killed run goes on as if it had not been. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { startBackend } from '../../src/backend/start.ts';
import { readMetrics } from '../../src/train/metrics.ts';
import { systems } from '../../src/train/systems/systems.ts';
import type { Progress } from '../../src/train/train.ts';
import { backendsUnderTest } from '../support/backends.ts';
import { listFiles, readTensors } from '../support/cli.ts';
import { fullOrCI } from '../support/full.ts';
import { makeFolder } from '../support/pictures.ts';

const hasTensorflow = backendsUnderTest.includes('tensorflow');
if (!hasTensorflow) console.warn('skipping the training of systems: it needs the tensorflow backend');

// LLaVolta's three differ in numbers alone.
const names = Object.keys(systems).filter((name) => !['llavolta-heavy', 'llavolta-light'].includes(name));

/** What a system starts from, where that is not a shipped model. */
const starts: Record<string, string | undefined> = { 'videollm-mod': 'video-full' };
const tested = fullOrCI ? names : names.slice(0, 1);
if (!fullOrCI)
  console.warn(`skipping the training of ${names.slice(1).join(', ')}: npm run test:full and CI do them`);

describe.skipIf(!hasTensorflow)('vtc train --system', () => {
  beforeAll(async () => {
    await startBackend('tensorflow');
  });

  test.each(tested)('%s: killed in its last stage and resumed it is what it is undisturbed', async (name) => {
    const smoke = { seed: 0, smoke: true };
    const [whole, killed] = [await makeFolder(), await makeFolder()];
    const start = starts[name];
    for (const folder of start ? [whole, killed] : []) {
      await systems[start!](smoke, { folder, checkpointEvery: 100 });
    }
    await systems[name](smoke, { folder: whole, checkpointEvery: 100 });
    const dieAt = ({ stage, step }: Progress) => {
      if (stage === name && step === 4) throw new Error('killed');
    };
    const dying = systems[name](smoke, { folder: killed, checkpointEvery: 0, onProgress: dieAt });
    await expect(dying).rejects.toThrow('killed');
    expect(await listFiles(killed)).not.toContain(`${name}/model.safetensors`);
    const steps: string[] = [];
    const note = ({ stage, step }: Progress) => steps.push(`${stage} ${step}`);
    await systems[name](smoke, { folder: killed, checkpointEvery: 100, onProgress: note });
    expect(steps).toEqual([4, 5, 6].map((step) => `${name} ${step}`)); // the checkpoint was of step 3

    const file = path.join(name, 'model.safetensors');
    const [a, b] = [await readTensors(path.join(whole, file)), await readTensors(path.join(killed, file))];
    expect(b.names).toEqual(a.names);
    for (const tensor of a.names) {
      const [one, other] = [a.get(tensor).values, b.get(tensor).values];
      const largest = Math.max(...one.map(Math.abs));
      const worst = Math.max(...one.map((x, i) => Math.abs(x - other[i])));
      expect(worst, tensor).toBeLessThanOrEqual(2e-3 * largest);
    }
    expect(b.metadata).toMatchObject({ seed: '0', data_sha256: a.metadata['data_sha256'] });
    expect(a.metadata['data_sha256']).toMatch(/^[\da-f]{64}$/);
    expect(await readFile(path.join(whole, `${name}.svg`), 'utf8')).toContain('on the validation split');
    const told = (await readMetrics(path.join(killed, `${name}.metrics.jsonl`))).map(({ step }) => step);
    expect(told).toEqual([1, 2, 3, 4, 5, 6]);
  });
});
