import { spawn } from 'node:child_process';

/** What a program that ran to its end left. */
export interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
  /** Why it failed, as it said: its first line that speaks of an error, else its last one. */
  reason: string;
}

/**
 * Runs a program without a shell.
 * @param show pass its progress on to standard error, if that is a terminal
 * @returns undefined where there is no such program in PATH
 */
export function runProgram(
  command: string,
  args: readonly string[],
  { env, show = false }: { env: NodeJS.ProcessEnv; show?: boolean },
): Promise<Ran | undefined> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    const echo = (text: string) => show && process.stderr.isTTY && process.stderr.write(text);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      echo(text);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
      echo(text);
    });
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'EACCES') resolve(undefined);
      else reject(error);
    });
    child.on('close', (code, signal) => {
      const lines = (stderr.trim() || stdout.trim()).split('\n').map((line) => line.trim());
      const said = lines.find((line) => /error|cannot/i.test(line)) ?? lines.at(-1);
      resolve({
        code,
        stdout,
        stderr,
        reason: said || (signal ? `ended by ${signal}` : `exit code ${code}`),
      });
    });
  });
}
