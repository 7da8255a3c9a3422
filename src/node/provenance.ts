/** What a result was made by and on. */
import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, totalmem } from 'node:os';

/** `git rev-parse` of this code, `… with changes` when its sources are not as committed, `unknown` outside its repository. */
export function describeCommit(): string {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8', stdio: 'pipe' }).trim();
  try {
    git('ls-files', '--error-unmatch', import.meta.filename); // an installed package may lie in someone else's repository
    const changed = git('status', '--porcelain', '--', ':/src');
    return git('rev-parse', '--short=12', 'HEAD') + (changed ? ' with changes' : '');
  } catch {
    return 'unknown';
  }
}

/** `Intel Xeon, 2 cores, 16 GiB; Node v22.13.0` */
export function describeMachine(): string {
  const cpu = cpus()[0]?.model.trim() ?? 'unknown processor';
  const memory = Math.round(totalmem() / 1024 ** 3);
  return `${cpu}, ${availableParallelism()} cores, ${memory} GiB; Node ${process.version}`;
}
