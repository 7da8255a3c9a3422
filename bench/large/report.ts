/** What a model at its true size took, as a table. */
import { markdownTable } from '../../src/report/markdown.ts';
import type { LlavaConfig } from '../../src/checkpoint/architecture.ts';
import type { Keeping } from '../../src/checkpoint/keeping.ts';
import { readBytes } from '../cases/decoder.ts';
import { median } from '../harness.ts';
import type { describeHost } from '../machine.ts';
import type { Taken } from './answer.ts';

type Steps = Record<'seeing' | 'reading' | 'writing', Taken[]>;

export interface Series {
  who: string;
  version: string;
  loading: Taken[];
  peakBytes: number;
  /** By U, one of each step a round. */
  budgets: Record<number, Steps & { answer?: number[] }>;
}

export interface LargeResults {
  shape: string;
  layers: number;
  machine: ReturnType<typeof describeHost>;
  rounds: number;
  keeping: Keeping;
  /** The instruction set of the 16-bit products. */
  form?: string;
  fileBytes: number;
  /** Of seeing and reading, by U. */
  flops: Record<number, number>;
  /** The machine's FLOP/s and bytes/s, one a round. */
  floors: { flops: number[]; bytes: number[] };
  series: Series[];
  config: LlavaConfig;
  textTokens: number;
  newTokens: number;
}

const wall = (taken: readonly Taken[]): number => median(taken.map((one) => one.wall));
const cpu = (taken: readonly Taken[]): number => median(taken.map((one) => one.cpu));
const seconds = (value: number): string => `${value.toFixed(value < 10 ? 2 : 1)} s`;
const both = (taken: readonly Taken[]): string => `${seconds(wall(taken))} (${cpu(taken).toFixed(1)})`;
const GB = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

/** Time to the first token: seeing and reading, round by round. */
const firstToken = ({ seeing, reading }: Steps): number =>
  median(seeing.map((one, round) => one.wall + reading[round].wall));

/** How much sooner the first token comes with fewer visual tokens, over how many fewer FLOPs it takes. */
export function speedUp(series: Series, flops: LargeResults['flops'], few: number): number {
  const all = Math.max(...Object.keys(series.budgets).map(Number));
  const sooner = firstToken(series.budgets[all]) / firstToken(series.budgets[few]);
  return sooner / (flops[all] / flops[few]);
}

export function describe(results: LargeResults): string {
  const { shape, layers, machine, rounds, keeping, form, fileBytes, flops, floors, series, config } = results;
  const budgets = Object.keys(flops)
    .map(Number)
    .sort((a, b) => b - a);
  const rate = { flops: median(floors.flops), bytes: median(floors.bytes) };
  const rows = series.flatMap((one) =>
    budgets
      .filter((U) => U in one.budgets)
      .map((U) => {
        const steps = one.budgets[U];
        const step = wall(steps.writing) / (results.newTokens - 1);
        const share = flops[U] / (wall(steps.seeing) + wall(steps.reading)) / rate.flops;
        return [
          one.who,
          `${U}`,
          both(steps.seeing),
          both(steps.reading),
          seconds(firstToken(steps)),
          `${Math.round(100 * share)} %`,
          both(steps.writing),
          `${(1000 * step).toFixed(0)} ms`,
          `${Math.round((100 * readBytes(config.text, 2)) / step / rate.bytes)} %`,
        ];
      }),
  );
  const head = [
    'who',
    'visual tokens',
    'seeing, choosing',
    'reading',
    'first token after',
    'of the matmul rate',
    `${results.newTokens} tokens`,
    'a token',
    'of the bandwidth',
  ];
  const ours = series[0];
  const loads = series.map(
    (one) =>
      `- ${one.who} (${one.version}): loads ${GB(fileBytes)} in ${both(one.loading)}, ${GB(fileBytes / wall(one.loading))}/s, and takes ` +
      `${GB(one.peakBytes)} of memory at most.`,
  );
  const few = budgets.at(-1)!;
  return [
    `# ${shape}: ${layers} decoder layers, weights of our own in bfloat16`,
    '',
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB; Node ${machine.node}; commit ${machine.commit}; ${machine.date}; medians of ` +
      `${rounds} rounds, in brackets seconds of all cores; weights ${keeping}${form ? `, products by ${form}` : ''}. A picture of ` +
      `${config.vision.image_size} pixels, ${results.textTokens} tokens of text, VTC-CLS (K = 3) where fewer are kept.`,
    '',
    markdownTable(head, rows, 1),
    '',
    ...loads,
    `- The machine multiplies ${(rate.flops / 1e9).toFixed(0)} GFLOP/s (2048³, float32) and adds up ${(rate.bytes / 1e9).toFixed(1)} GB/s (256 MiB), in the same rounds.`,
    `- The first token comes ${(firstToken(ours.budgets[budgets[0]]) / firstToken(ours.budgets[few])).toFixed(2)} times as soon with ${few} visual tokens as ` +
      `with ${budgets[0]}, for ${(flops[budgets[0]] / flops[few]).toFixed(2)} times fewer FLOPs: ${speedUp(ours, flops, few).toFixed(2)} of that.`,
    '',
  ].join('\n');
}
