/**
 * One report of a machine's GPU: bench/gpu.sh starts it. Every part is a process of its own with a time limit, and what it
 * left is written at once: a part that hangs, crashes or is slow costs only itself.
 *
 * For trying it where there is none: VTC_GPU_BACKEND=wasm takes that backend for one on a GPU, and so does
 * VTC_CLS_WEBGPU=software with webgpu.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startBackend, type BackendChoice } from '../src/backend/start.ts';
import { messageOf, onOneLine } from '../src/errors.ts';
import { median, type Measurement, type Skip } from './harness.ts';
import { describeHost } from './machine.ts';
import type { Results } from './report.ts';

const root = path.join(import.meta.dirname, '..');

/** Seconds that each part may take at most, whatever is left of the whole. The first start compiles kernels for the GPU. */
const limits = { machine: 20, doctor: 60, start: 180, tests: 120, bench: 120 };

const testFiles = ['ops', 'golden', 'shipped'].map((name) => `test/models/${name}.test.ts`);
/** Where a section's results lie until they are in the report. */
const sectionName = `gpu-${process.pid}`;

/** Of bench --gpu; the most telling first. */
const sections = ['ViT-L', 'large', 'decoder', 'ops', 'pipeline', 'scoring'];

export interface GpuReport {
  machine: Record<string, unknown>;
  /** Absent when none starts on a GPU. */
  backend?: BackendChoice;
  /** Why the backends before it do not. */
  rejected: { name: string; reason: string }[];
  doctor: string;
  tests: { passed: number; failed: number; failures: string[] };
  bench: (Pick<Measurement, 'name' | 'group' | 'milliseconds'> & { median: number; rate: string })[];
  /** What the limits left no time for, and what this backend cannot. */
  skipped: { part: string; reason: string }[];
  /** Parts that ended in an error. */
  failed: { part: string; reason: string }[];
  seconds: Record<string, number>;
  /** A backend started on a GPU, nothing failed, and something was tested or measured. */
  ok: boolean;
}

/** What is left of a process: its output, and why it is no success. */
interface Part {
  stdout: string;
  failure?: string;
  /** It was not given the time it needs. */
  late?: boolean;
}

/** Runs a program to its end or its limit; past that it is ended with all that it started. */
export function runPart(command: string, args: string[], seconds: number, env = {}): Promise<Part> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      detached: true, // a group of its own, to be ended as one
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [stdout, stderr, late] = ['', '', false];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const timer = setTimeout(() => {
      late = true;
      process.kill(-child.pid!, 'SIGKILL');
    }, seconds * 1000);
    child.on('error', (error) => {
      clearTimeout(timer);
      resolve({ stdout, failure: messageOf(error) });
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const lines = stderr.split('\n').filter((line) => line.trim() && !line.includes('XDG_RUNTIME_DIR')); // Mesa's noise
      const said = lines.find((line) => /^\w*error\b|^bench:/i.test(line)) ?? lines.at(-1);
      const failure = late
        ? `was ended after ${Math.round(seconds)} s`
        : code === 0
          ? undefined
          : onOneLine(`${signal ?? `exit code ${code}`}: ${said || stdout.trim().split('\n').at(-1)}`);
      resolve({ stdout, failure, late });
    });
  });
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      out: { type: 'string', default: 'out/gpu.json' },
      seconds: { type: 'string', default: '480' },
      start: { type: 'string' }, // the backend that this process is to start, as a part of another's
    },
  });
  if (values.start) {
    try {
      console.log(JSON.stringify(await startBackend(values.start)));
      process.exit(0);
    } catch (error) {
      console.log(messageOf(error).replace(/^backend ".*?" does not run: \w+: /, ''));
      process.exit(1);
    }
  }
  const began = performance.now();
  const left = () => Number(values.seconds) - 5 - (performance.now() - began) / 1000;
  const report: GpuReport = {
    machine: await describe(),
    rejected: [],
    doctor: '',
    tests: { passed: 0, failed: 0, failures: [] },
    bench: [],
    skipped: [],
    failed: [],
    seconds: {},
    ok: false,
  };
  const save = () => {
    mkdirSync(path.dirname(path.resolve(values.out)), { recursive: true });
    writeFileSync(values.out, JSON.stringify(report, null, 2) + '\n');
  };
  /** Node runs a script, where time is left for it. */
  const run = async (part: string, limit: number, args: string[], env = {}): Promise<Part> => {
    const seconds = Math.min(limit, left());
    const before = performance.now();
    const result =
      seconds < 5
        ? { stdout: '', failure: `no time was left of ${values.seconds} s`, late: true }
        : await runPart(process.execPath, args, seconds, env);
    report.seconds[part] = Math.round((performance.now() - before) / 1000);
    console.error(
      `${String(report.seconds[part]).padStart(4)} s  ${part}${result.failure ? `: ${result.failure}` : ''}`,
    );
    return result;
  };
  const note = (part: string, { failure, late }: Part): void =>
    void (late ? report.skipped : report.failed).push({ part, reason: failure ?? 'it left no report' });
  const tsx = ['--import', 'tsx'];

  const doctor = await run('doctor', limits.doctor, [
    ...tsx,
    'src/cli/main.ts',
    'doctor',
    '--backend',
    'wasm',
  ]);
  report.doctor = doctor.stdout;
  if (doctor.failure) note('doctor', doctor);

  const taken = process.env['VTC_GPU_BACKEND'];
  for (const name of taken ? [taken] : ['tensorflow', 'webgpu']) {
    const { stdout, failure, late } = await run(`start ${name}`, limits.start, [
      ...tsx,
      'bench/gpu.ts',
      '--start',
      name,
    ]);
    if (failure !== undefined) {
      report.rejected.push({ name, reason: (!late && stdout.trim()) || failure });
      continue;
    }
    const choice = JSON.parse(stdout) as BackendChoice;
    const inSoftware = name === 'webgpu' && process.env['VTC_CLS_WEBGPU'] === 'software';
    if (taken || inSoftware || choice.device.startsWith('GPU')) {
      report.backend = choice;
      break;
    }
    report.rejected.push({ name, reason: `it runs on ${choice.device}` });
  }
  save();
  if (!report.backend) {
    const reasons = report.rejected.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
    console.error(`no backend starts on a GPU here (${reasons}); the report is ${values.out}`);
    process.exit(1);
  }
  const { name, device } = report.backend;
  console.error(`${name} on ${device}`);

  for (const file of positionals.length > 0 ? [] : testFiles) {
    const outputFile = path.join(root, 'out', `gpu-${process.pid}-${path.basename(file)}.json`);
    rmSync(outputFile, { force: true });
    const vitest = [
      'node_modules/vitest/vitest.mjs',
      'run',
      file,
      '--reporter=json',
      `--outputFile=${outputFile}`,
    ];
    const part = await run(file, limits.tests, vitest, { VTC_TEST_BACKENDS: name });
    const found = readTests(outputFile);
    if (found) {
      report.tests.passed += found.passed;
      report.tests.failed += found.failures.length;
      report.tests.failures.push(...found.failures);
      rmSync(outputFile);
    } else {
      note(file, part);
    }
    save();
  }

  for (const section of positionals.length > 0 ? positionals : sections) {
    const bench = [...tsx, 'bench/main.ts', '--gpu', '--no-peers', '--backend', name, '--rounds', '3'];
    const part = await run(section, limits.bench, [...bench, '--only', section, '--name', sectionName]);
    const results = path.join(root, `bench/results/${sectionName}.json`);
    if (part.failure) note(`bench ${section}`, part);
    else addRows(report, JSON.parse(readFileSync(results, 'utf8')) as Results);
    save();
  }
  for (const kind of ['json', 'md', 'svg'])
    rmSync(path.join(root, `bench/results/${sectionName}.${kind}`), { force: true });

  report.ok =
    report.tests.failed + report.failed.length === 0 && report.tests.passed + report.bench.length > 0;
  report.seconds['all'] = Math.round((performance.now() - began) / 1000);
  save();
  const { passed, failed } = report.tests;
  console.error(
    `${passed} tests passed, ${failed} failed; ${report.bench.length} cases measured, ${report.failed.length} parts failed, ${report.skipped.length} skipped; ` +
      `the report is ${values.out}`,
  );
  process.exit(report.ok ? 0 : 1);
}

/** @returns undefined where there is none */
function readTests(file: string): { passed: number; failures: string[] } | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  const { testResults } = JSON.parse(text) as {
    testResults: {
      name: string;
      status: string;
      message: string;
      assertionResults: { fullName: string; status: string; failureMessages?: string[] }[];
    }[];
  };
  const all = testResults.flatMap(({ assertionResults }) => assertionResults);
  return {
    passed: all.filter(({ status }) => status === 'passed').length,
    failures: [
      ...all
        .filter(({ status }) => status === 'failed')
        .map(({ fullName, failureMessages = [] }) =>
          onOneLine(`${fullName}: ${failureMessages[0]?.split('\n')[0]}`),
        ),
      // a file that does not even load has no tests
      ...testResults
        .filter(({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0)
        .map(({ name, message }) => onOneLine(`${name}: ${message}`)),
    ],
  };
}

/** The machine's own rates are in every section: once is enough. */
function addRows(
  report: GpuReport,
  { measurements, skipped }: { measurements: Measurement[]; skipped: Skip[] },
): void {
  for (const { name, group, milliseconds, work, floor } of measurements) {
    if (floor || report.bench.some((row) => row.name === name && row.group === group)) continue;
    const middle = median(milliseconds);
    const [amount, unit] = 'flops' in work ? [work.flops, 'GFLOP/s'] : [work.bytes, 'GB/s'];
    report.bench.push({
      name,
      group,
      milliseconds,
      median: middle,
      rate: `${(amount / middle / 1e6).toFixed(1)} ${unit}`,
    });
  }
  for (const { name, reason } of skipped) report.skipped.push({ part: `bench ${name}`, reason });
}

async function describe(): Promise<Record<string, unknown>> {
  const query = ['--query-gpu=name,driver_version,memory.total,compute_cap', '--format=csv,noheader'];
  const gpus = await runPart('nvidia-smi', query, limits.machine);
  return {
    gpus: gpus.failure === undefined ? gpus.stdout.trim().split('\n') : [],
    ...(gpus.failure !== undefined && { nvidiaSmi: gpus.failure }),
    ...describeHost(),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
