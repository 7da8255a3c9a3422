/** What every method must hold to, asked of one: a file of one's own, a built-in one, or cases that another program wrote. */
import { Argument, Option, type Command } from 'commander';
import { startBackend } from '../backend/start.ts';
import { methods } from '../compress/registry.ts';
import { UserError } from '../errors.ts';
import { readText, reasonOf } from '../node/files.ts';
import { filesIn, methodFinder } from '../node/method-file.ts';
import { checkCases } from '../testing/cases.ts';
import { checkMethod, type Finding } from '../testing/method/check.ts';
import { addBackend, readInteger, type BackendOption } from './options.ts';

interface CheckFlags extends BackendOption {
  json?: string;
  runs: number;
  seed: number;
}

export function addCheckCommand(program: Command): void {
  const command = program
    .command('check')
    .description(
      'whether a method holds to what every method must, on small random models; or cases of your own',
    )
    .addArgument(new Argument('[method]', 'a file such as ./mine.ts, a name, or all'))
    .addOption(new Option('--json <file>', 'selections, merges or cuts that another program wrote, instead'))
    .option('--runs <n>', 'how many random trials of each property', readInteger(1), 20)
    .option('--seed <n>', 'which trials', readInteger(0), 1);
  addBackend(command).action(run);
}

async function run(name: string | undefined, flags: CheckFlags): Promise<void> {
  if ((name === undefined) === (flags.json === undefined)) {
    throw new UserError('name a method, or give --json with a file of cases');
  }
  const right = flags.json === undefined ? await checkNamed(name!, flags) : await checkFile(flags.json);
  if (!right) process.exitCode = 1;
}

/** @returns whether all holds */
async function checkNamed(name: string, { backend, runs, seed }: CheckFlags): Promise<boolean> {
  const names = name === 'all' ? methods.map((method) => method.name) : [name];
  const [file] = filesIn(name);
  if (name.includes(':') || (file !== undefined && file !== name)) {
    throw new UserError(`${name}: name one method, without options and without others beside it`);
  }
  const find = await methodFinder(names);
  const chosen = names.map(find);
  const stack = chosen.find((method) => !file && !methods.includes(method));
  if (stack) throw new UserError(`${name}: a stack is checked method by method: name one of them`);
  await startBackend(backend);
  let right = true;
  for (const method of chosen) {
    const findings = await checkMethod(method, { runs, seed, file });
    right &&= findings.every(({ holds }) => holds !== false);
    console.log(`${method.name}\n${findings.map(formatFinding).join('\n')}`);
  }
  return right;
}

const marks = new Map([
  [true, '✓'],
  [false, '✗'],
  [undefined, '–'],
]);

function formatFinding({ property: { claim, why }, holds, message, smallest }: Finding): string {
  const line = `  ${marks.get(holds)} ${claim}`;
  if (holds === undefined) return `${line} (not seen: no trial came to its end)`;
  if (holds) return line;
  const { G, B, U, seed } = smallest!;
  const trial = `${B} ${B === 1 ? 'picture' : 'pictures'} of ${G * G} patches, U = ${U}, seed ${seed}`;
  return [
    line,
    `      ${message}`,
    `      smallest input found: ${trial}`,
    `      why it matters: ${why}`,
  ].join('\n');
}

/** @returns whether all are right */
async function checkFile(file: string): Promise<boolean> {
  const text = await readText(file).catch((error: unknown) => {
    throw error instanceof UserError ? error : new UserError(`cannot read ${file}: ${reasonOf(error)}`);
  });
  const cases = checkCases(text, file);
  for (const { kind, name, violations } of cases) {
    console.log(`${violations.length === 0 ? '✓' : '✗'} ${name} (${kind})`);
    for (const { message, why } of violations) console.log(`    ${message}\n    why it matters: ${why}`);
  }
  return cases.every(({ violations }) => violations.length === 0);
}
