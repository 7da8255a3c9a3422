/**
 * Measuring so that a reader believes it. Cases of one group run interleaved, A B C A B C …, so that whatever else the
 * machine does meanwhile falls on all of them alike; each is reported as its median and range; and two cases are
 * compared round by round, then by the median of those ratios.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs-core';
import { messageOf, UserError } from '../src/errors.ts';

/** What one run hands back. */
export interface RunResult {
  /** A few values of the result: reading them ends the computation, and lets runners be compared. */
  digest: number[];
  /** The time, where the run measured it itself: a peer process, or a decode after its prefill. */
  milliseconds?: number;
  /** Peak memory where another process did the work. */
  peakBytes?: number;
}

/** A benchmark as data. */
export interface BenchCase {
  /** What is measured: `ViT-B/16 encode`. Cases of one name in one group compute the same thing from the same weights. */
  name: string;
  /** Cases of one group are prepared together and run interleaved. */
  group: string;
  /** Who computes: a backend's name, or a peer's. */
  runner: string;
  /** The backend to switch to before every step, for our own cases. */
  backend?: string;
  /** The work of one run: FLOPs where arithmetic bounds it, bytes where memory does. */
  work: { flops: number } | { bytes: number };
  /** Bytes of keys and values that the run leaves. */
  cacheBytes?: number;
  /** Tokens a run makes, for tokens a second. */
  tokens?: number;
  /** The case that this one does something beside: it is reported as an overhead on that one. */
  over?: string;
  /** Its result depends on the order of adding: the runners' are not compared. */
  unchecked?: boolean;
  /** Not a result: the machine's own rate in the same rounds, which the group's other cases are held against. */
  floor?: boolean;
  prepare(): Promise<void>;
  run(): Promise<RunResult>;
  dispose(): void | Promise<void>;
}

export interface Measurement {
  name: string;
  group: string;
  runner: string;
  work: BenchCase['work'];
  cacheBytes?: number;
  tokens?: number;
  over?: string;
  unchecked?: boolean;
  floor?: boolean;
  /** One a round. */
  milliseconds: number[];
  /** The process's largest resident set during the runs: all of the group's weights are in it. */
  peakBytes: number;
  digest: number[];
}

export interface Skip {
  name: string;
  runner: string;
  reason: string;
}

export interface GroupOptions {
  rounds: number;
  /** A sample repeats a short run until it takes about so long. */
  sampleMilliseconds?: number;
  /** Between two samples: the last one's threads stop spinning. */
  restMilliseconds?: number;
  log?: (line: string) => void;
}

/** The order of the samples: every case once a round, in the order given. */
export function interleave<T>(cases: readonly T[], rounds: number): T[] {
  return Array.from({ length: rounds }, () => cases).flat();
}

/**
 * Prepares a group's cases, warms each up with one run, measures them interleaved, and disposes them.
 * A case that throws a UserError does not fit here (no room on wasm, say), and one whose result is another than the
 * first runner's is no comparison: it is skipped with the reason.
 */
export async function measureGroup(
  cases: readonly BenchCase[],
  { rounds, sampleMilliseconds = 60, restMilliseconds = 15, log }: GroupOptions,
): Promise<{ measurements: Measurement[]; skipped: Skip[] }> {
  const skipped: Skip[] = [];
  const ready: { item: BenchCase; repeats: number; result: Measurement }[] = [];
  const opened: BenchCase[] = [];
  try {
    for (const item of cases) {
      log?.(`${item.name} · ${item.runner}: prepare`);
      try {
        await use(item);
        opened.push(item);
        await item.prepare();
        const { milliseconds, digest } = await sample(item, 1);
        const repeats = Math.max(1, Math.round(sampleMilliseconds / milliseconds));
        const { name, group, runner, work, cacheBytes, tokens, over, unchecked, floor } = item;
        const result = { name, group, runner, work, cacheBytes, tokens, over, unchecked, floor, digest };
        requireSame(
          result,
          ready.map((other) => other.result),
        );
        ready.push({ item, repeats, result: { ...result, milliseconds: [], peakBytes: 0 } });
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        skipped.push({ name: item.name, runner: item.runner, reason: messageOf(error) });
      }
    }
    let done = 0;
    for (const { item, repeats, result } of interleave(ready, rounds)) {
      log?.(`${item.name} · ${item.runner}: round ${Math.floor(done++ / ready.length) + 1} of ${rounds}`);
      await use(item);
      await pause(restMilliseconds);
      const { milliseconds, peakBytes } = await sample(item, repeats);
      result.milliseconds.push(milliseconds);
      result.peakBytes = Math.max(result.peakBytes, peakBytes);
    }
  } finally {
    for (const item of opened) {
      await use(item);
      await item.dispose();
    }
  }
  return { measurements: ready.map(({ result }) => result), skipped };
}

/** A runner that computes something else is no comparison. */
function requireSame(mine: Compared, others: readonly Compared[]): void {
  const first = others.find(({ name }) => name === mine.name);
  if (!first || mine.unchecked) return;
  const difference = relativeDifference(mine.digest, first.digest);
  if (difference <= tolerance) return;
  throw new UserError(
    `its result lies ${difference.toExponential(1)} of the largest value from ${first.runner}'s, ` +
      `more than ${tolerance}: it computes something else`,
  );
}
type Compared = Pick<Measurement, 'name' | 'runner' | 'digest' | 'unchecked'>;
const tolerance = 1e-3;

async function use({ backend }: BenchCase): Promise<void> {
  if (backend && tf.getBackend() !== backend) await tf.setBackend(backend);
}

async function sample(item: BenchCase, repeats: number): Promise<Required<RunResult>> {
  resetPeak();
  let total = 0;
  let result: RunResult = { digest: [] };
  for (let i = 0; i < repeats; i++) {
    const started = performance.now();
    result = await item.run();
    total += result.milliseconds ?? performance.now() - started;
  }
  const peakBytes = result.peakBytes ?? readPeak();
  return { digest: result.digest, milliseconds: total / repeats, peakBytes };
}

/** Linux forgets a process's peak on request; elsewhere the peak is the whole run's. */
function resetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // not Linux
  }
}

function readPeak(): number {
  try {
    const kilobytes = /VmHWM:\s*(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))![1];
    return Number(kilobytes) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}

/** The middle value; of an even number of values the mean of the middle two. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('no values have no median');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function range(values: readonly number[]): [number, number] {
  return [Math.min(...values), Math.max(...values)];
}

/** How many times as long a took as b: the median over rounds of their ratio in one round. */
export function pairedRatio(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) throw new Error(`${a.length} rounds cannot be paired with ${b.length}`);
  return median(a.map((x, i) => x / b[i]));
}

/** max|a − b| / max|b|; how far two runners' results lie apart. */
export function relativeDifference(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) throw new Error(`digests of ${a.length} and ${b.length} values`);
  const largest = Math.max(...b.map(Math.abs));
  return Math.max(...a.map((x, i) => Math.abs(x - b[i]))) / largest;
}
