// Runs every command that README.md shows, in order, with the method that it shows as mine.ts; steps of their own are not run again.
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';

const readme = readFileSync('README.md', 'utf8');
const mine = /<!-- mine\.ts -->\s*```ts\n([\s\S]*?)```/.exec(readme)[1];
const commands = [...readme.matchAll(/```sh\n([\s\S]*?)```/g)]
  .flatMap(([, block]) => block.split('\n'))
  .map((line) => line.replace(/\s+#.*$/, '').trim())
  .filter((line) => line !== '' && !['npm ci', 'npm start'].includes(line));

writeFileSync('mine.ts', mine);
try {
  for (const command of commands) {
    console.log(`$ ${command}`);
    const { status } = spawnSync('bash', ['-c', command], { stdio: ['ignore', 'inherit', 'inherit'] });
    if (status !== 0) throw new Error(`${command}: exit code ${status}`);
  }
} finally {
  rmSync('mine.ts');
}
