/** The built command line, one command after another in a process that stays: arguments come as messages, results go back. */
import { runProgram } from '../../dist/cli/program.js';

process.on('message', async (args) => {
  const told = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) process[name].write = (text) => Boolean((told[name] += text));
  process.argv.splice(2, Infinity, ...args);
  process.exitCode = 0;
  try {
    await runProgram(args);
  } catch (error) {
    told.stderr += `${error.stack}\n`; // as Node tells of a bug
    process.exitCode = 1;
  }
  process.send({ code: process.exitCode, ...told });
});
