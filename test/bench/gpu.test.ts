import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { runPart, type GpuReport } from '../../bench/gpu.ts';
import { full } from '../support/full.ts';

const root = path.join(import.meta.dirname, '../..');

/** @returns what bench/gpu.sh leaves, and its exit code */
async function report(
  args: string[],
  env: NodeJS.ProcessEnv,
): Promise<{ report: GpuReport; code: number; stderr: string }> {
  const folder = await mkdtemp(path.join(tmpdir(), 'vtc-gpu-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const out = path.join(folder, 'gpu.json');
  const options = { cwd: root, env: { ...process.env, NODE: process.execPath, ...env } };
  const { code = 0, stderr } = (await promisify(execFile)(
    'bench/gpu.sh',
    ['--out', out, ...args],
    options,
  ).catch((error: { code: number; stderr: string }) => error)) as { code?: number; stderr: string };
  return { report: JSON.parse(await readFile(out, 'utf8')) as GpuReport, code, stderr };
}

test('without a backend on a GPU it says so, leaves a report and exits 1', async () => {
  const { report: left, code, stderr } = await report([], { VTC_GPU_BACKEND: 'none-such' });
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /^no backend starts on a GPU here \(none-such: unknown backend "none-such".*\); the report is/m,
  );
  expect(left).toMatchObject({ ok: false, tests: { passed: 0 }, bench: [] });
  expect(left.backend).toBeUndefined();
  expect(left.doctor).toMatch(/^chosen: wasm/m);
});

// It runs the golden tests and a bench, which is half a minute: in test:full alone.
test.runIf(full)('a section of the bench is measured, and one that is not there fails', async () => {
  const { report: left, code } = await report(['linear 1×', 'no such case'], { VTC_GPU_BACKEND: 'wasm' });
  expect(left.backend).toMatchObject({ name: 'wasm' });
  expect(left.bench.map(({ name }) => name)).toEqual([
    'matmul 2048³',
    'sum of 256 MiB',
    'linear 1×2048×5632',
  ]);
  for (const { milliseconds, rate } of left.bench) {
    expect(milliseconds).toHaveLength(3);
    expect(rate).toMatch(/^\d+\.\d G(FLOP|B)\/s$/);
  }
  expect(left.failed).toEqual([
    { part: 'bench no such case', reason: 'exit code 1: bench: --only no such case: no case of that name' },
  ]);
  expect([left.ok, code]).toEqual([false, 1]);
});

test('what takes too long is ended with all that it started', async () => {
  const before = performance.now();
  const { failure, late, stdout } = await runPart('bash', ['-c', 'sleep 60 & echo $!; wait'], 1);
  expect({ failure, late }).toEqual({ failure: 'was ended after 1 s', late: true });
  expect(performance.now() - before).toBeLessThan(20_000);
  const state = await readFile(`/proc/${stdout.trim()}/stat`, 'utf8').catch(() => 'gone');
  expect(state).toMatch(/^gone$|\) Z /);
});

test.each([
  ['echo fine', { stdout: 'fine\n', failure: undefined, late: false }],
  ['echo "a"; echo "bench: b" >&2; exit 3', { stdout: 'a\n', failure: 'exit code 3: bench: b', late: false }],
])('%s', async (script, expected) => {
  expect(await runPart('bash', ['-c', script], 20)).toEqual(expected);
});
