import { appendFile, readFile } from 'node:fs/promises';
import { UserError } from '../errors.ts';
import { reasonOf, writeText } from '../files.ts';

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
 */
export async function openMetrics(file: string, step: number): Promise<MetricsFile> {
  const kept = step === 0 ? [] : (await readMetrics(file)).filter((line) => line.step <= step);
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

/** @returns [] where there is no such file; a last line that was cut short by a kill is left out */
export async function readMetrics(file: string): Promise<StepMetrics[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as StepMetrics);
}

const toLine = (metrics: StepMetrics): string => `${JSON.stringify(metrics)}\n`;
