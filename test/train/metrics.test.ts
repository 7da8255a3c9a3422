import { existsSync } from 'node:fs';
import { appendFile, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { openMetrics, readMetrics } from '../../src/train/metrics.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'vtc-cls-metrics-'));
});
afterEach(() => rm(folder, { recursive: true }));
const line = (step: number) => ({ step, loss: 1 / 3, rate: 1e-3 });

const noFull = existsSync('/dev/full') ? '' : 'there is no /dev/full here';

test.skipIf(noFull)(`a disk that is full in the middle of a run is one sentence ${noFull}`, async () => {
  const file = path.join(folder, 'clip.metrics.jsonl');
  const metrics = await openMetrics(file, 0);
  await rm(file);
  await symlink('/dev/full', file);
  metrics.add(line(1));
  await expect(metrics.flush()).rejects.toThrow(
    new UserError(`cannot write ${file}: no space is left on the device`),
  );
});

test('a line that was written in part is left out, and a run goes on behind its step', async () => {
  const file = path.join(folder, 'clip.metrics.jsonl');
  const metrics = await openMetrics(file, 0);
  for (const step of [1, 2, 3]) metrics.add(line(step));
  await metrics.flush();
  await appendFile(file, '{"step":4,"lo');
  expect(await readMetrics(file)).toEqual([1, 2, 3].map(line));
  const again = await openMetrics(file, 2);
  again.add(line(3));
  await again.flush();
  expect(await readMetrics(file)).toEqual([1, 2, 3].map(line));
});

test.each([
  [
    '{"step":1,"loss":1,"rate":1}\n{"step":3,"loss":1,"rate":1}\n',
    'line 2 does not hold the metrics of step 2',
  ],
  ['{"step":1,"loss":"1","rate":1}\n', 'line 1 does not hold the metrics of step 1'],
  ['{"step":1,"loss":1,"rate":1,"validation":[1]}\n', 'line 1 does not hold the metrics of step 1'],
  ['null\n', 'line 1 does not hold the metrics of step 1'],
  ['{"step":\n', 'line 1 is not JSON'],
])('what no run has left is refused by file and line: %j', async (text, message) => {
  const file = path.join(folder, 'metrics.jsonl');
  await writeFile(file, text);
  await expect(readMetrics(file)).rejects.toThrow(UserError);
  await expect(readMetrics(file)).rejects.toThrow(`${file}, ${message}`);
  await expect(readMetrics(path.dirname(file))).rejects.toThrow('it is a folder');
});
