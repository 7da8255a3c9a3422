/** From cells to the figures of a table: accuracy by question type, with intervals, against tokens and FLOPs. */
import { visualTokenCount, type LlavaConfig } from '../../checkpoint/architecture.ts';
import type { Stage } from '../../compress/method.ts';
import { prefillMacs } from '../../cost.ts';
import type { ImagePrompt } from '../../text/prompt.ts';
import { patchCount } from '../../vision/config.ts';
import type { Cell, CellRecord } from '../run/cell.ts';
import { addTimes, type Costs, type Times } from '../run/costs.ts';
import { popeFigures, type PopeFigures } from '../task/pope-score.ts';
import { mean, withSeeds, type Accuracy } from '../task/score.ts';
import { scorings } from '../task/scoring.ts';
import type { PictureSource, Task } from '../task/task.ts';

/** One series at one budget; figures are means over its seeds. */
export interface Row extends Costs {
  series: string;
  /** The stage at which its method acts first. */
  stage: Stage;
  budget: number;
  pictures: PictureSource;
  seeds: number;
  overall: Accuracy;
  byType: Record<string, Accuracy>;
  /** For a task in POPE's format. */
  pope?: PopeFigures;
  /** Measured: a picture seen and compressed, a question's prompt read and its answer written. */
  milliseconds: Times;
}

/** Rows in the order in which their cells were planned. */
export function summarise(task: Task, done: readonly { cell: Cell; record: CellRecord }[]): Row[] {
  const groups = new Map<string, typeof done>();
  for (const entry of done) {
    const { variant, budget, pictures } = entry.cell;
    const key = [variant.series, budget, pictures].join(' ');
    groups.set(key, [...(groups.get(key) ?? []), entry]);
  }
  const mark = scorings[task.scoring];
  return [...groups.values()].map((group): Row => {
    const { variant, budget, pictures } = group[0].cell;
    const records = group.map(({ record }) => record);
    const scoreOf = (type?: string) => {
      const places = [...task.questions.keys()].filter((i) => !type || task.questions[i].type === type);
      return withSeeds(records.map(({ answers }) => places.map((i) => mark(answers[i], task.questions[i]))));
    };
    return {
      series: variant.series,
      stage: variant.method.stages[0],
      budget,
      pictures,
      seeds: group.length,
      overall: scoreOf(),
      byType: Object.fromEntries(typesOf(task).map((type) => [type, scoreOf(type)])),
      ...(task.scoring === 'pope' && { pope: meanPope(task, records) }),
      layerTokens: records[0].layerTokens.map((_, l) => mean(records.map((record) => record.layerTokens[l]))),
      prefillFlops: mean(records.map((record) => record.prefillFlops)),
      cacheBytes: mean(records.map((record) => record.cacheBytes)),
      milliseconds: meanTimes(task, records),
    };
  });
}

/** Of one picture and of one question, mean over the seeds. */
function meanTimes({ questions }: Task, records: readonly CellRecord[]): Times {
  const { see, prefill, decode } = addTimes(records.map(({ milliseconds }) => milliseconds));
  const seen = records.reduce((sum, record) => sum + record.seen, 0);
  const asked = questions.length * records.length;
  return { see: see / seen, prefill: prefill / asked, decode: decode / asked };
}

/** Of all questions, mean over the seeds. */
function meanPope({ questions }: Task, records: readonly CellRecord[]): PopeFigures {
  const labels = questions.map(({ answer }) => answer);
  const figures = records.map(({ answers }) => popeFigures(answers, labels));
  const over = (name: keyof PopeFigures) => mean(figures.map((figure) => figure[name]));
  return {
    accuracy: over('accuracy'),
    precision: over('precision'),
    recall: over('recall'),
    f1: over('f1'),
    yesRatio: over('yesRatio'),
  };
}

/** In the order in which they come up. */
export const typesOf = ({ questions }: Task): string[] => [...new Set(questions.map(({ type }) => type))];

/** A series' accuracy against what it costs. */
export interface Curve {
  series: string;
  /** Which chart it is in: of methods that act before the decoder or between its layers. */
  side: 'before' | 'between';
  /** Visual tokens are the actual ones, mean over the decoder's layers. */
  points: { tokens: number; flops: number; accuracy: Accuracy }[];
}

/**
 * The curve of each series, ending at the uncompressed model: what a method becomes when it keeps every patch.
 * @param textTokens what a prompt has without its picture, mean over the questions
 */
export function curvesOf({ rows, textTokens }: { rows: readonly Row[]; textTokens: number }): Curve[] {
  const shown = rows.filter(({ pictures }) => pictures === 'own');
  const full = shown.find(({ series }) => series === 'none');
  const names = [...new Set(shown.map(({ series }) => series))].filter((name) => name !== 'none');
  return names.map((series) => {
    const own = shown.filter((row) => row.series === series);
    const isWhole = !full || own.some(({ budget }) => budget === full.budget);
    const points = (isWhole ? own : [...own, full]).map(({ layerTokens, prefillFlops, overall }) => ({
      tokens: mean(layerTokens) - textTokens,
      flops: prefillFlops,
      accuracy: overall,
    }));
    return {
      series,
      side: own[0].stage === 'between' ? 'between' : 'before',
      points: points.sort((a, b) => a.flops - b.flops),
    };
  });
}

/** A curve's accuracy at so many FLOPs, on the line between its neighbouring points; undefined beyond its ends. */
export function accuracyAt({ points }: Curve, flops: number): number | undefined {
  const after = points.findIndex((point) => point.flops >= flops * (1 - 1e-9));
  if (after < 0) return undefined;
  const right = points[after];
  if (right.flops <= flops * (1 + 1e-9)) return right.accuracy.accuracy;
  if (after === 0) return undefined;
  const left = points[after - 1];
  const share = (flops - left.flops) / (right.flops - left.flops);
  return left.accuracy.accuracy + share * (right.accuracy.accuracy - left.accuracy.accuracy);
}

/** FLOPs of reading a prompt whose picture takes so many patches through every decoder layer, mean over the prompts. */
export function flopsWith(config: LlavaConfig, prompts: readonly ImagePrompt[], budget: number): number {
  const visual = visualTokenCount(config) - patchCount(config.vision) + budget; // and [CLS], where it is kept
  return mean(
    prompts.map(({ before, after }) => {
      const tokens = before.length + visual + after.length;
      return 2 * prefillMacs(config.text, Array(config.text.num_hidden_layers).fill(tokens) as number[]);
    }),
  );
}

/** Tokens of a prompt without its patches, mean over the prompts: a [CLS] that the checkpoint keeps is among them. */
export const textTokens = (config: LlavaConfig, prompts: readonly ImagePrompt[]): number =>
  mean(prompts.map(({ before, after }) => before.length + after.length)) +
  visualTokenCount(config) -
  patchCount(config.vision);
