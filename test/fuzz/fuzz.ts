/**
 * Readers under damaged input. Each case must be taken, or refused in one sentence, soon and with little memory.
 * The cases run in a process of their own: one that never ends, or ends the process, is found and named too.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createRandom, type Random } from '../../src/random.ts';

/** One reader and the input it is given; `NAME.ts` exports it as NAME. */
export interface Fuzz {
  /**
   * Once in a process.
   * @param folder empty, for its files
   * @returns what makes a case, the same for the same draws
   */
  prepare(folder: string): Promise<(random: Random) => Promise<FuzzCase>>;
}

export interface FuzzCase {
  /** For whom it fails: what was damaged, and how. */
  what: string;
  /** Reads it. A UserError is as good as success. */
  run: () => Promise<unknown>;
}

/** What one case may take. */
export const bounds = { cpuSeconds: 2, megabytes: 500 };

/** What became of a run of cases. */
export interface FuzzReport {
  taken: number;
  refused: number;
  /** Of each failing case its number, what it was and what went wrong. */
  failures: string[];
}

/** The draws of one case. */
export const randomOf = (seed: number, index: number): Random => createRandom(seed * 1_000_003 + index);

/**
 * Runs the first cases of a seed. A process that breaks off is started again behind its case.
 * @param file `readers/NAME`
 * @param silentSeconds how long a case may take by the clock: a machine under load is no fault of a reader's
 */
export async function runFuzz(
  file: string,
  seed: number,
  count: number,
  silentSeconds = 30,
): Promise<FuzzReport> {
  const report: FuzzReport = { taken: 0, refused: 0, failures: [] };
  let next = 0;
  while (next < count) {
    const { lines, reason } = await runProcess(file, seed, next, count - next, silentSeconds);
    for (const { index, what, verdict } of lines) {
      if (verdict === 'taken' || verdict === 'refused') report[verdict]++;
      else report.failures.push(`case ${index}: ${what}: ${verdict}`);
    }
    next += lines.length;
    if (reason === undefined && lines.length > 0) continue; // it is done, or wanted to begin anew
    report.failures.push(`case ${next}: ${reason ?? 'nothing'}`);
    next++;
  }
  return report;
}

interface Line {
  index: number;
  what: string;
  verdict: string;
}

/** @returns the cases that ended, and why the process did not come to its end */
function runProcess(file: string, seed: number, first: number, count: number, silentSeconds: number) {
  return new Promise<{ lines: Line[]; reason?: string }>((resolve, reject) => {
    const main = path.join(import.meta.dirname, 'process.ts');
    const args = ['--import', 'tsx', '--max-old-space-size=600', main, file];
    const child = spawn(process.execPath, [...args, String(seed), String(first), String(count)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const lines: Line[] = [];
    let [rest, begun, errors, hung] = ['', '', '', false];
    const kill = () => {
      hung = true;
      child.kill('SIGKILL');
    };
    let watch = setTimeout(kill, 1000 * silentSeconds);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      clearTimeout(watch);
      watch = setTimeout(kill, 1000 * silentSeconds);
      const parts = (rest + text).split('\n');
      rest = parts.pop()!;
      for (const part of parts) {
        const line = JSON.parse(part) as Partial<Line> & { what: string };
        if (line.verdict === undefined) begun = line.what;
        else lines.push(line as Line);
      }
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors = (errors + text).slice(-2000)));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(watch);
      if (code === 0) return resolve({ lines });
      const end = hung ? `nothing for ${silentSeconds} s` : `ended by ${signal ?? `exit code ${code}`}`;
      resolve({ lines, reason: `${begun}: ${end} ${errors.trim()}` });
    });
  });
}
