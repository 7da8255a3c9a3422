/** From cells to the figures of a table: accuracy by question type with intervals, and what else critics ask for. */
import type { Stage } from '../../compress/method.ts';
import { isUncut, type Cell, type CellRecord } from '../run/cell.ts';
import { joinKept, keptOf, type Kept } from '../run/kept.ts';
import { createBootstrap, meanOfRuns, type Estimate } from '../task/bootstrap.ts';
import { addTimes, depthsOf, type Costs, type Times } from '../run/costs.ts';
import { popeFigures, type PopeFigures } from '../task/pope-score.ts';
import { isRight, mean, type Accuracy } from '../task/score.ts';
import { isChoice, markers } from '../task/scoring.ts';
import type { PictureSource, Task } from '../task/task.ts';

/** One series at one budget; figures are means over its seeds and over the models. */
export interface Row extends Costs {
  series: string;
  /** The stage at which its method acts first. */
  stage: Stage;
  budget: number;
  pictures: PictureSource;
  /** Of the method, and how many models were asked. */
  seeds: number;
  models: number;
  overall: Accuracy;
  byType: Record<string, Accuracy>;
  /** By the kind of thing that is asked about; of questions that speak of one thing, for a task that knows. */
  byAbout: Record<string, Accuracy>;
  /** The models' own accuracies, least and greatest. */
  range: [number, number];
  /** The share of answers that no question of their type has; where the questions have choices. */
  offType?: number;
  /** Right answers where the model has to take one of the choices: the likeliest by its first token. */
  restricted?: Accuracy;
  /** The uncut model's answer again, right or wrong. */
  loyalty?: Accuracy;
  /** KL(uncut ‖ cut) of the first token, nats, mean over the questions. */
  kl?: number;
  /** How much more often right than the series that it is held against, on the same questions at the same budget. */
  against?: Estimate;
  /** Of the questions that only the uncut model gets right, not the series that is to fail; and of all others. */
  hard?: { hard?: Accuracy; rest?: Accuracy };
  /** Which patches stay to the end. */
  kept?: Kept;
  /** For a task of boxes: the share that overlaps by more than one half. */
  half?: Accuracy;
  /** Where it is the question's: the share whose picture went through 1, 2, … decoder layers. */
  depths?: number[];
  /** For a task in POPE's format. */
  pope?: PopeFigures;
  /** Measured: a picture seen and compressed, a question's prompt read and its answer written. */
  milliseconds: Times;
}

/** One cell's answers, of one of several models. */
export interface Done {
  cell: Cell;
  record: CellRecord;
  /** Which model, from 0; the first where it is left out. */
  model?: number;
}

export interface Comparisons {
  /** A series that all others are held against. */
  against?: string;
  /** A series whose failures make a question a hard one. */
  hard?: string;
}

/** Rows in the order in which their cells were planned. */
export function summarise(task: Task, done: readonly Done[], { against, hard }: Comparisons = {}): Row[] {
  const { questions } = task;
  const marked = new WeakMap<readonly string[], number[]>(); // several figures ask for the same
  const marksOf = ({ answers }: Pick<CellRecord, 'answers'>): number[] => {
    const marks =
      marked.get(answers) ?? answers.map((answer, i) => markers[task.scoring](answer, questions[i]));
    marked.set(answers, marks);
    return marks;
  };
  const bootstrap = createBootstrap(questions.map(({ picture }) => picture));
  const uncut = new Map(
    done.flatMap(({ cell, record, model = 0 }) => (isUncut(cell) ? [[model, record] as const] : [])),
  );
  const groups = groupBy(done, ({ cell: { variant, budget, pictures } }) => {
    return [variant.series, budget, pictures].join(' ');
  });
  const groupAt = (series: string, budget: number) => groups.get([series, budget, 'own'].join(' '));
  const only = <T>(values: readonly T[], counts: (i: number) => boolean) =>
    values.map((value, i) => (counts(i) ? value : undefined));
  const share = (values: (number | undefined)[]): Accuracy | undefined =>
    values.some((value) => value !== undefined) ? bootstrap.share(values) : undefined;
  const sharesBy = (key: 'type' | 'about', marks: readonly (number | undefined)[]) =>
    Object.fromEntries(
      kindsOf(task, key).map((kind) => [
        kind,
        bootstrap.share(only(marks, (i) => questions[i][key] === kind)),
      ]),
    );
  const hasChoices = questions.some(({ choices }) => choices);

  return [...groups.values()].map((group): Row => {
    const { variant, budget, pictures } = group[0].cell;
    const records = group.map(({ record }) => record);
    const marks = meanOfRuns(records.map(marksOf));
    const own = pictures === 'own';
    const rival = own && against !== undefined ? groupAt(against, budget) : undefined;
    const failing = own && hard !== undefined ? groupAt(hard, budget) : undefined;
    const hardShare = (wanted: boolean) => {
      const runs = group.map(({ record, model = 0 }) => {
        const isHard = findHard(
          uncut.get(model),
          failing?.find((other) => (other.model ?? 0) === model),
          marksOf,
        );
        return only(marksOf(record), (i) => isHard(i) === wanted);
      });
      return share(meanOfRuns(runs));
    };
    return {
      series: variant.series,
      stage: variant.method.stages[0],
      budget,
      pictures,
      seeds: new Set(group.map(({ cell }) => cell.variant.name)).size,
      models: new Set(group.map(({ model = 0 }) => model)).size,
      overall: bootstrap.share(marks),
      range: rangeOf(
        [...groupBy(group, ({ model = 0 }) => model).values()].map((runs) =>
          mean(runs.flatMap(({ record }) => marksOf(record))),
        ),
      ),
      byType: sharesBy('type', marks),
      byAbout: sharesBy('about', marks),
      offType: hasChoices ? mean(records.map((record) => offTypeShare(task, record))) : undefined,
      restricted: share(
        meanOfRuns(
          records.map(({ restricted }) =>
            only(marksOf({ answers: restricted }), (i) => restricted[i] !== ''),
          ),
        ),
      ),
      loyalty:
        own && group.every(({ model = 0 }) => uncut.has(model))
          ? bootstrap.share(
              meanOfRuns(
                group.map(({ record, model = 0 }) =>
                  record.answers.map((answer, i) => Number(isRight(answer, uncut.get(model)!.answers[i]))),
                ),
              ),
            )
          : undefined,
      kl: records.every(({ kl }) => kl) ? mean(records.flatMap(({ kl }) => kl!)) : undefined,
      against:
        rival && variant.series !== against
          ? bootstrap.mean(difference(marks, meanOfRuns(rival.map(({ record }) => marksOf(record)))))
          : undefined,
      hard:
        failing && variant.series !== hard ? { hard: hardShare(true), rest: hardShare(false) } : undefined,
      kept: records.every(({ kept }) => kept)
        ? keptOf(joinKept(records.map(({ kept }) => kept!)))
        : undefined,
      ...(task.scoring === 'boxes' && {
        half: bootstrap.share(
          meanOfRuns(records.map((record) => marksOf(record).map((mark) => Number(mark > 0.5)))),
        ),
      }),
      depths: depthsOf(records.flatMap(({ prompts }) => prompts)),
      ...(task.scoring === 'pope' && { pope: meanPope(task, records) }),
      layerTokens: records[0].layerTokens.map((_, l) => mean(records.map((record) => record.layerTokens[l]))),
      prefillFlops: mean(records.map((record) => record.prefillFlops)),
      cacheBytes: mean(records.map((record) => record.cacheBytes)),
      milliseconds: meanTimes(task, records),
    };
  });
}

function groupBy<T, K>(list: readonly T[], keyOf: (one: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const one of list) {
    const group = groups.get(keyOf(one));
    if (group) group.push(one);
    else groups.set(keyOf(one), [one]);
  }
  return groups;
}

const rangeOf = (values: readonly number[]): [number, number] => [Math.min(...values), Math.max(...values)];

const difference = (a: readonly (number | undefined)[], b: readonly (number | undefined)[]) =>
  a.map((x, i) => x! - b[i]!);

/** Which questions the uncut model gets right and another does not. */
function findHard(
  uncut: CellRecord | undefined,
  failing: Done | undefined,
  marksOf: (record: CellRecord) => number[],
): (question: number) => boolean | undefined {
  if (!uncut || !failing) return () => undefined;
  const [whole, cut] = [marksOf(uncut), marksOf(failing.record)];
  return (i) => whole[i] >= 0.5 && cut[i] < 0.5;
}

/** Of the questions that have choices. */
function offTypeShare({ questions, scoring }: Task, { answers }: CellRecord): number {
  const off = questions.flatMap(({ choices }, i) =>
    choices ? [Number(!isChoice(scoring, answers[i], choices))] : [],
  );
  return mean(off);
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
const kindsOf = ({ questions }: Task, key: 'type' | 'about'): string[] => [
  ...new Set(questions.flatMap((question) => question[key] ?? [])),
];
