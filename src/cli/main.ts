#!/usr/bin/env node
import { createRequire } from 'node:module';
import { Command } from 'commander';
import { UserError } from '../errors.ts';
import { addClassifyCommand } from './classify.ts';
import { addCompareCommand } from './compare.ts';
import { addDemoCommand } from './demo.ts';
import { addDoctorCommand } from './doctor.ts';
import { addEvalCommand } from './eval.ts';
import { addGenerateCommand } from './generate.ts';
import { addInspectCommand } from './inspect.ts';
import { addMethodsCommand } from './methods.ts';
import { addRunCommand } from './run.ts';
import { addSetupTensorflowCommand } from './setup-tensorflow.ts';
import { addTraceCommand } from './trace.ts';
import { addTrainCommand } from './train.ts';
import { addWorldCommand } from './world.ts';

const { version, description } = createRequire(import.meta.url)('../../package.json') as {
  version: string;
  description: string;
};

const program = new Command('vtc')
  .description(description)
  .version(version)
  .showHelpAfterError('(add --help for the options)');
addRunCommand(program);
addTraceCommand(program);
addGenerateCommand(program);
addClassifyCommand(program);
addEvalCommand(program);
addCompareCommand(program);
addInspectCommand(program);
addMethodsCommand(program);
addTrainCommand(program);
addWorldCommand(program);
addDoctorCommand(program);
addDemoCommand(program);
addSetupTensorflowCommand(program);

// `vtc inspect DIR | head` closes the pipe early: not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof UserError)) throw error; // a bug keeps its stack trace
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
