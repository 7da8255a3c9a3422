/** A run's results as Markdown, JSON and a plot. */
import { markdownTable } from '../src/report/markdown.ts';
import { median, pairedRatio, range, relativeDifference, type Measurement, type Skip } from './harness.ts';
import { shareOfMachine, workOf, type Machine, type Rates } from './machine.ts';
import type { Target } from './targets.ts';

export interface Results {
  machine: Machine;
  rates: Rates;
  rounds: number;
  measurements: Measurement[];
  skipped: Skip[];
  targets: Target[];
}

export function machineLine({ machine }: Results): string {
  const { cpu, cores, memoryGiB, node, commit, date, loadBefore, loadAfter, others, runners } = machine;
  const load = loadBefore.toFixed(1) + (loadAfter === undefined ? '' : ` → ${loadAfter.toFixed(1)}`);
  const list = Object.entries(runners).map(([name, text]) => `- ${name}: ${text}`);
  return [
    `${cpu}, ${cores} cores, ${memoryGiB} GiB; Node ${node}; commit ${commit}; ${date}; load average ${load}` +
      (others === undefined
        ? ''
        : `; other processes took ${Math.round(100 * others)} % of the cores meanwhile`),
    '',
    ...list,
  ].join('\n');
}

const mib = (bytes: number): string => (bytes / 1024 ** 2).toFixed(bytes < 10 * 1024 ** 2 ? 1 : 0);

/** Three significant digits, without an exponent. */
export function short(x: number): string {
  return x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2);
}

export function measurementRow(m: Measurement, all: readonly Measurement[]): string[] {
  const time = median(m.milliseconds);
  const [low, high] = range(m.milliseconds);
  const rate = workOf(m) / (time / 1000);
  const unit = 'flops' in m.work ? 'GFLOP' : 'GB';
  const share = shareOfMachine(m, all);
  return [
    m.name,
    m.runner,
    short(time),
    `${short(low)}–${short(high)}`,
    `${short(workOf(m) / 1e9)} ${unit}`,
    `${short(rate / 1e9)} ${unit}/s`,
    share === undefined ? '' : `${Math.round(100 * share)} %`,
    m.tokens ? short(m.tokens / (time / 1000)) : '',
    m.cacheBytes ? mib(m.cacheBytes) : '',
    mib(m.peakBytes),
  ];
}

export function markdown(results: Results): string {
  const { measurements, rates, rounds, skipped, targets } = results;
  const head = ['what', 'who', 'ms', 'range', 'work', 'rate', 'share', 'tokens/s', 'KV MiB', 'peak MiB'];
  const subject = ({ group }: Measurement) => group.split(':')[0];
  const subjects = [...new Set(measurements.map(subject))];
  const difference = largestDifference(measurements);
  const parts = [
    machineLine(results),
    `The machine's rates, the best sample of any runner: ${short(rates.flops / 1e9)} GFLOP/s (matmul), ` +
      `${short(rates.bytes / 1e9)} GB/s (sum). Median and range of ${rounds} interleaved rounds; ` +
      `the share is of the machine's rate in the same rounds; ` +
      `peak is the process's resident set, with all weights of the group in it.`,
    ...subjects.map((title) => {
      const rows = measurements
        .filter((m) => subject(m) === title && !m.floor)
        .map((m) => measurementRow(m, measurements));
      return `### ${title}\n\n${markdownTable(head, rows, 2)}`;
    }),
  ];
  if (difference) {
    parts.push(
      `Runners agree on results to ${difference.value.toExponential(1)} of the largest value ` +
        `(worst: ${difference.name}, ${difference.runners.join(' and ')}).`,
    );
  }
  const overheads = overheadRows(measurements);
  if (overheads.length > 0) {
    const title = '### Overhead of exposing attention';
    parts.push(
      `${title}\n\n${markdownTable(['what', 'who', 'over not exposing it', 'range'], overheads, 2)}`,
    );
  }
  if (targets.some(({ measured }) => measured)) {
    const rows = targets.map(({ what, target, measured, met }) => [
      what,
      target,
      measured ?? 'not in this run',
      met === undefined ? '' : met ? 'met' : 'missed',
    ]);
    parts.push(`### Targets\n\n${markdownTable(['what', 'target', 'measured', ''], rows, 2)}`);
  }
  if (skipped.length > 0) {
    const names = new Map<string, string[]>(); // one line a reason
    for (const { name, runner, reason } of skipped) {
      const why = `${runner}: ${reason}`;
      names.set(why, [...(names.get(why) ?? []), name]);
    }
    const lines = [...names].map(([why, list]) => `- ${list.join(', ')} · ${why}`);
    parts.push(`### Skipped\n\n${lines.join('\n')}`);
  }
  return parts.join('\n\n') + '\n';
}

/** What exposing attention costs, round by round: a tenth of noise either way hides what is smaller. */
export function overheadRows(all: readonly Measurement[]): string[][] {
  const signed = (ratio: number) => `${ratio < 1 ? '−' : '+'}${Math.abs(100 * (ratio - 1)).toFixed(1)} %`;
  return all.flatMap((m) => {
    const plain = all.find(
      ({ name, runner, group }) => name === m.over && runner === m.runner && group === m.group,
    );
    if (!plain) return [];
    const [low, high] = range(m.milliseconds.map((time, round) => time / plain.milliseconds[round]));
    const middle = signed(pairedRatio(m.milliseconds, plain.milliseconds));
    return [[m.name, m.runner, middle, `${signed(low)} to ${signed(high)}`]];
  });
}

/** Cases of one name in one group compute one thing: how far apart do they come out? */
export function largestDifference(
  measurements: readonly Measurement[],
): { value: number; name: string; runners: string[] } | undefined {
  const found = measurements.flatMap((m, i) => {
    const first = measurements.find((other) => other.name === m.name && other.group === m.group)!;
    if (measurements.indexOf(first) === i || m.floor || m.unchecked) return [];
    return [
      { value: relativeDifference(m.digest, first.digest), name: m.name, runners: [first.runner, m.runner] },
    ];
  });
  return found.sort((a, b) => b.value - a.value)[0];
}
