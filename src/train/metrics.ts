import { appendFile } from 'node:fs/promises';
import { UserError } from '../errors.ts';
import { readWhole, reasonOf, writeText } from '../node/files.ts';
import { parseStrictJson } from '../io/strict-json.ts';
import { isObject, type JsonObject } from '../json.ts';

/** What is known of one step. */
export interface StepMetrics {
  step: number;
  loss: number;
  rate: number;
  validation?: Record<string, number>;
}

/** The metrics of a run, one JSON object a line. */
export interface MetricsFile {
  add(metrics: StepMetrics): void;
  /**
   * Writes what was added.
   * @throws UserError naming the file; a line that was written in part is left out when it is read
   */
  flush(): Promise<void>;
}

/**
 * Opens a run's metrics to go on behind a step: lines of later steps, of a run that was killed, are dropped.
 * @param step 0 begins anew
 * @throws UserError for a file that does not hold all steps up to it
 */
export async function openMetrics(file: string, step: number): Promise<MetricsFile> {
  const kept = step === 0 ? [] : (await readMetrics(file)).filter((line) => line.step <= step);
  if (kept.length !== step) {
    throw new UserError(
      `${file} holds ${kept.length} steps, but the checkpoint is of step ${step}: give --fresh to begin again`,
    );
  }
  await writeText(file, kept.map(toLine).join(''));
  let waiting = '';
  return {
    add: (metrics) => {
      waiting += toLine(metrics);
    },
    flush: async () => {
      await appendFile(file, waiting).catch((error: unknown) => {
        throw new UserError(`cannot write ${file}: ${reasonOf(error)}`);
      });
      waiting = '';
    },
  };
}

/**
 * @returns [] where there is no such file; a last line that was cut short by a kill is left out
 * @throws UserError for a file that cannot be read, or lines that are not those of the steps 1, 2, 3, …
 */
export async function readMetrics(file: string): Promise<StepMetrics[]> {
  const text = await readWhole(file).then(
    (bytes) => bytes.toString('utf8'),
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw new UserError(`cannot read ${file}: ${reasonOf(error)}`);
    },
  );
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  return lines
    .filter((line) => line !== '')
    .map((line, i) => {
      const metrics = parseStrictJson(line, `${file}, line ${i + 1}`);
      if (isMetrics(metrics) && metrics.step === i + 1) return metrics;
      throw new UserError(`${file}, line ${i + 1} does not hold the metrics of step ${i + 1}`);
    });
}

function isMetrics(x: unknown): x is StepMetrics {
  if (!isObject(x)) return false;
  const { step, loss, rate, validation = {} } = x;
  return [step, loss, rate].every(Number.isFinite) && isObject(validation) && isFigures(validation);
}

/** JSON has no NaN: a figure that was none is null. */
const isFigures = (validation: JsonObject): boolean =>
  Object.values(validation).every((value) => value === null || Number.isFinite(value));

const toLine = (metrics: StepMetrics): string => `${JSON.stringify(metrics)}\n`;
