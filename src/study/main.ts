/** `npm run study`: src/study/README.md */
import { UserError } from '../errors.ts';
import { study } from './study.ts';

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0); // `npm run study 3 | head` closes the pipe early
});

try {
  await study(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
