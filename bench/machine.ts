/** What a time was taken on. */
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { describeCommit } from '../src/node/provenance.ts';
import type { BackendChoice } from '../src/backend/start.ts';
import { median, type BenchCase, type Measurement } from './harness.ts';
import type { Peer } from './peers/peer.ts';

export interface Machine {
  cpu: string;
  cores: number;
  memoryGiB: number;
  node: string;
  commit: string;
  date: string;
  /** The load average over a minute, before and after: other work on the machine shows here. */
  loadBefore: number;
  loadAfter?: number;
  /** Share of the cores that other processes took meanwhile, 0 to 1: above a few hundredths, trust only the ratios. */
  others?: number;
  /** Runner → versions, device, threads. */
  runners: Record<string, string>;
}

/** What computes, which code, and when. */
export const describeHost = () => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: availableParallelism(),
  memoryGiB: Math.round(totalmem() / 1024 ** 3),
  node: process.version,
  commit: describeCommit(),
  date: new Date().toISOString().slice(0, 16) + 'Z',
});

export function describeMachine(backends: BackendChoice[], peers: readonly Peer[]): Machine {
  const threadCount = (n: number) => `${n} thread${n === 1 ? '' : 's'}`;
  const runners = Object.fromEntries([
    ...backends.map(({ name, version, device, threads }) => [
      name,
      `${version}; ${device}; ${threadCount(threads)}`,
    ]),
    ...peers.map(({ kind, version, threads }) => [kind.name, `${version}; ${threadCount(threads)}`]),
  ]) as Record<string, string>;
  return {
    ...describeHost(),
    loadBefore: loadavg()[0],
    runners,
  };
}

/** Busy seconds of all cores together, since the machine started. */
export function busySeconds(): number {
  const milliseconds = cpus().map(({ times }) => times.user + times.nice + times.sys + times.irq);
  return milliseconds.reduce((sum, n) => sum + n, 0) / 1000;
}

/** Seconds of all cores that this process and its peers have used. */
export function ownSeconds(peers: readonly Peer[]): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6 + peers.reduce((sum, peer) => sum + peer.cpuSeconds(), 0);
}

/** The best runner's best samples: the floor under every time. FLOP/s and bytes/s. */
export interface Rates {
  flops: number;
  bytes: number;
}

export function machineRates(measurements: readonly Measurement[]): Rates {
  const best = (group: string) =>
    Math.max(
      ...measurements
        .filter((m) => m.group === group)
        .map((m) => workOf(m) / (Math.min(...m.milliseconds) / 1000)),
    );
  return { flops: best('machine: matmul'), bytes: best('machine: bandwidth') };
}

/**
 * The machine's cases of the fastest runner, to run in another group's rounds: matmul where arithmetic is measured, the
 * sum where bandwidth is. Whatever else loads the machine then slows the floor as well.
 */
export function floorCases(
  group: string,
  cases: readonly BenchCase[],
  machine: readonly BenchCase[],
  measured: readonly Measurement[],
): BenchCase[] {
  const isBound = (unit: string) => cases.some(({ work }) => unit in work);
  return ['flops', 'bytes'].filter(isBound).flatMap((unit) => {
    const known = measured.filter((m) => m.group.startsWith('machine') && unit in m.work);
    const fastest = known.sort((a, b) => median(a.milliseconds) - median(b.milliseconds))[0];
    const item = machine.find(({ name, runner }) => name === fastest.name && runner === fastest.runner)!;
    return [{ ...item, group, floor: true }];
  });
}

/** A case's rate over the machine's in the same rounds: the median of their ratios. */
export function shareOfMachine(m: Measurement, all: readonly Measurement[]): number | undefined {
  const unit = 'flops' in m.work ? 'flops' : 'bytes';
  const floor = all.find((other) => other.floor && other.group === m.group && unit in other.work);
  if (!floor) return undefined;
  const rate = (of: Measurement, round: number) => workOf(of) / of.milliseconds[round];
  return median(m.milliseconds.map((_, round) => rate(m, round) / rate(floor, round)));
}

export const workOf = ({ work }: Pick<Measurement, 'work'>): number =>
  'flops' in work ? work.flops : work.bytes;
