#!/usr/bin/env node
import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { onOneLine, UserError } from '../errors.ts';
import { reasonOf } from '../node/files.ts';
import { describeOutOfMemory } from '../backend/host-memory.ts';
import { addCheckCommand } from './check.ts';
import { addClassifyCommand } from './classify.ts';
import { addClipsCommand } from './clips.ts';
import { addCompareCommand } from './compare.ts';
import { addDemoCommand } from './demo.ts';
import { addDoctorCommand } from './doctor.ts';
import { addDownloadCommand } from './download.ts';
import { addEvalCommand } from './eval.ts';
import { addGenerateCommand } from './generate.ts';
import { addInspectCommand } from './inspect.ts';
import { addMethodsCommand } from './methods.ts';
import { addReplCommand } from './repl.ts';
import { addRunCommand } from './run.ts';
import { addSetupTensorflowCommand } from './setup-tensorflow.ts';
import { addTraceCommand } from './trace.ts';
import { addTrainCommand } from './train.ts';
import { addWorldCommand } from './world.ts';
import { locateModels, refuseEmptyPaths } from './options.ts';

const { version, description } = createRequire(import.meta.url)('../../package.json') as {
  version: string;
  description: string;
};

const program = new Command('vtc')
  .description(description)
  .version(version)
  .showHelpAfterError('(add --help for the options)')
  .configureOutput({
    // What it quotes of the command line may hold anything.
    outputError: (text, write) =>
      write(`${onOneLine(text.trimEnd().replace(/\n(\(Did you mean .*\))$/, ' $1'))}\n`),
  })
  .exitOverride() // the process ends by itself, when what was printed is out
  .hook('preAction', async (_, command) => {
    refuseEmptyPaths(command);
    await locateModels(command);
  });
addRunCommand(program);
addTraceCommand(program);
addGenerateCommand(program);
addCheckCommand(program);
addClassifyCommand(program);
addEvalCommand(program);
addClipsCommand(program);
addCompareCommand(program);
addInspectCommand(program);
addReplCommand(program);
addMethodsCommand(program);
addTrainCommand(program);
addWorldCommand(program);
addDownloadCommand(program);
addDoctorCommand(program);
addDemoCommand(program);
addSetupTensorflowCommand(program);

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0); // `vtc inspect DIR | head` closes the pipe early: not an error
  console.error(`error: cannot write to standard output: ${reasonOf(error)}`);
  process.exit(1);
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode; // it has said what there is to say
  } else if (error instanceof UserError) {
    console.error(`error: ${error.message}`);
    process.exitCode = 1;
  } else {
    const told = describeOutOfMemory(error);
    if (told === undefined) throw error; // a bug keeps its stack trace
    console.error(`error: ${onOneLine(told)}`);
    process.exitCode = 1;
  }
}
