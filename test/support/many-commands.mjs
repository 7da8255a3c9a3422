/** The built command line, one command after another in a process that stays: arguments and variables come as messages, results go back. */
import { runProgram } from '../../dist/cli/program.js';

const before = { ...process.env };

process.on('message', async ({ args, env }) => {
  const told = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) process[name].write = (text) => Boolean((told[name] += text));
  process.argv.splice(2, Infinity, ...args);
  process.env = { ...before, ...env };
  process.exitCode = 0;
  try {
    await runProgram(args);
  } catch (error) {
    told.stderr += `${error.stack}\n`; // as Node tells of a bug
    process.exitCode = 1;
  }
  process.send({ code: process.exitCode, ...told });
});
