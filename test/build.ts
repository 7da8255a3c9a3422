/**
 * Once before all tests: builds `dist`, which the tests of the command line start, several hundred times; from TypeScript each
 * start would take twice as long. Types are checked by `npm run types`, not here.
 */
import { execFileSync } from 'node:child_process';
import path from 'node:path';

export default function build(): void {
  const root = path.join(import.meta.dirname, '..');
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--noCheck'], {
    cwd: root,
    stdio: 'inherit',
  });
}
