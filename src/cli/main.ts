#!/usr/bin/env node
/** `vtc` in a process of its own. */
import { reasonOf } from '../node/files.ts';
import { runProgram } from './program.ts';

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0); // `vtc inspect DIR | head` closes the pipe early: not an error
  console.error(`error: cannot write to standard output: ${reasonOf(error)}`);
  process.exit(1);
});

await runProgram(process.argv.slice(2));
