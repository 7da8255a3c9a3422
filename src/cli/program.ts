/** The whole command line: every command, and what is said of one that fails. */
import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { onOneLine, UserError } from '../errors.ts';
import { describeOutOfMemory } from '../backend/host-memory.ts';
import { addCheckCommand } from './check.ts';
import { addClassifyCommand } from './classify.ts';
import { addClipsCommand } from './clips.ts';
import { addCompareCommand } from './compare.ts';
import { addDemoCommand } from './demo.ts';
import { addDoctorCommand } from './doctor.ts';
import { addConvertCommand } from './convert.ts';
import { addDownloadCommand } from './download.ts';
import { addEvalCommand } from './eval.ts';
import { addGenerateCommand } from './generate.ts';
import { addInspectCommand } from './inspect.ts';
import { addMethodsCommand } from './methods.ts';
import { addPageCommand } from './page.ts';
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

/** Runs one command, given what follows `vtc`; one that fails is told in a line, and sets the exit code. */
export async function runProgram(args: readonly string[]): Promise<void> {
  try {
    await createProgram().parseAsync(args, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode; // it has said what there is to say
      return;
    }
    const mistake = error instanceof UserError ? error : outOfMemory(error);
    if (mistake === undefined) throw error; // a bug keeps its stack trace
    console.error(`error: ${mistake.message}`);
    process.exitCode = 1;
  }
}

function outOfMemory(error: unknown): UserError | undefined {
  const told = describeOutOfMemory(error);
  return told === undefined ? undefined : new UserError(told);
}

function createProgram(): Command {
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
  addConvertCommand(program);
  addPageCommand(program);
  addDoctorCommand(program);
  addDemoCommand(program);
  addSetupTensorflowCommand(program);
  return program;
}
