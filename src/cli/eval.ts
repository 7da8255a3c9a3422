import { existsSync } from 'node:fs';
import path from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { Cell, CellRecord } from '../eval/run/cell.ts';
import { drawCurves } from '../eval/page/curves.ts';
import { evaluate } from '../eval/run/evaluate.ts';
import { canFocus, focusOf, type FocusCounts } from '../eval/run/focus.ts';
import { findShards, mergeShards } from '../eval/shards/merge.ts';
import { draftAgenda, readRequest, type Agenda, type Request } from '../eval/run/agenda.ts';
import { describeCommit, describeMachine } from '../node/provenance.ts';
import { writeMarkdown, type Results } from '../eval/page/report.ts';
import { scorings } from '../eval/task/scoring.ts';
import { nameShard, parseShard, shardQuestions, whole, type Shard } from '../eval/shards/shard.ts';
import { openStore, writeJson, type CellStore } from '../eval/shards/store.ts';
import { flopsWith, summarise, textTokens } from '../eval/page/summary.ts';
import { UserError } from '../errors.ts';
import { checkWritable, writeText } from '../node/files.ts';
import { startBackend } from '../backend/start.ts';
import { patchCount } from '../vision/config.ts';
import { splits } from '../world/split.ts';
import { addBackend, addClip, addTemplate, readInteger, type BackendOption } from './options.ts';
import { createBar, loadWithBar } from './progress.ts';
import { readLlavaConfig } from './ask.ts';
import { clipFor, shippedModel } from '../node/shipped.ts';

interface EvalFlags extends BackendOption, Request {
  shard: Shard;
  merge?: string[];
  out: string;
}

const defaultMethods = [
  'none',
  'vtc-cls:layers=1',
  'vtc-cls',
  'vtc-cls:positions=original',
  'random',
  'uniform',
];

export function addEvalCommand(program: Command): void {
  const command = program
    .command('eval')
    .description('measure how accuracy falls with the tokens kept, method by method')
    .option(
      '--model <dir>',
      'a Hugging Face folder of type LLaVA; the default comes with this program',
      shippedModel(),
    )
    .addOption(
      new Option('--task <name>', 'the drawn world, or --questions in the format of POPE, VQA or vtc world')
        .choices(['world', ...Object.keys(scorings)])
        .default('world'),
    )
    .addOption(new Option('--split <name>', 'which scenes of the world').choices(splits).default('test'))
    .option(
      '--count <n>',
      'scenes of the world (default: 1000), or questions of the file (all)',
      readInteger(1),
    )
    .option('--questions <file>', 'JSON lines: id, image, question and right answer')
    .option('--images <dir>', 'the folder of their pictures (default: that of the file)')
    .option('--suffix <text>', 'added to every question: " Answer with one word."', '')
    .option('--pad', "pad pictures to a square first, as LLaVA-1.5's own code does", false)
    .option(
      '--methods <list>',
      'with commas between, or all; options follow a colon: vtc-cls:layers=1:positions=original',
      defaultMethods.join(),
    )
    .option('--seeds <n>', 'methods with a seed run under 0 to n − 1, unless one is given', readInteger(1), 3)
    .option('--keep <list>', 'visual tokens to keep: counts, ratios or percentages', '50%,25%,12.5%,6.25%')
    .option('--new-tokens <R>', 'at most this many tokens of answer', readInteger(1), 3)
    .option('--shard <i/n>', 'only the i-th of n equal parts of the pictures', readShard, whole)
    .option(
      '--merge <dir...>',
      "join the folders of all n shards; all else is taken from the shards' own flags",
    )
    .requiredOption(
      '--out <dir>',
      'folder for results; an evaluation that was cut off goes on where it stopped',
    );
  addBackend(addClip(addTemplate(command))).action((flags: EvalFlags) =>
    flags.merge ? merge(flags, command) : run(flags),
  );
}

function readShard(text: string): Shard {
  const shard = parseShard(text);
  if (!shard) throw new InvalidArgumentError('It should be i/n with 1 ≤ i ≤ n, such as 2/4.');
  return shard;
}

/** What results do not depend on. */
const besides = ['backend', 'shard', 'merge', 'out'];

const requestOf = (flags: EvalFlags): Request => {
  const entries = Object.entries(flags).filter(([name]) => !besides.includes(name));
  return { ...(Object.fromEntries(entries) as Request), clip: clipFor(flags) };
};

async function run(flags: EvalFlags): Promise<void> {
  const backend = await startBackend(flags.backend);
  const agenda = await draftAgenda(requestOf(flags), await readLlavaConfig(flags.model), flags.shard);
  const files = await resultFiles(flags.out);
  const store = await openStore(flags.out, agenda.key, agenda);
  await writeJson(path.join(flags.out, 'flags.json'), requestOf(flags));
  for (const reason of agenda.leftOut) console.log(`left out: ${reason}`);
  await doWork(flags, agenda, store, backend.name);
  if (flags.shard.count === 1) return report(flags, agenda, store, files);
  console.log(
    `shard ${nameShard(flags.shard)} is done: when all are, vtc eval --merge and their folders makes the tables`,
  );
}

async function merge(flags: EvalFlags, command: Command): Promise<void> {
  const own = Object.keys({ ...requestOf(flags), shard: '' });
  const extra = own.find((name) => command.getOptionValueSource(name) === 'cli');
  if (extra)
    throw new UserError(
      `--merge takes --${extra.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)} from the shards' folders: leave it out`,
    );
  const shards = await findShards(flags.merge!);
  const request = readRequest(shards[0].flags, path.join(shards[0].folder, 'flags.json'));
  const agenda = await draftAgenda(request, await readLlavaConfig(request.model), whole);
  const files = await resultFiles(flags.out);
  const store = await mergeShards(shards, agenda, () => openStore(flags.out, agenda.key, agenda));
  await report({ ...flags, ...request }, agenda, store, files);
}

/** Where the results go; where their folder is there, whether they can. */
async function resultFiles(out: string): Promise<string[]> {
  const files = ['results.json', 'results.md', 'curves.svg'].map((name) => path.join(out, name));
  if (existsSync(out)) for (const file of files) await checkWritable(file);
  return files;
}

/** Does those cells of the agenda that the store lacks, and leaves them there. */
async function doWork(flags: EvalFlags, agenda: Agenda, store: CellStore, backend: string): Promise<void> {
  const { cells, task, shard } = agenda;
  const done = await Promise.all(cells.map((cell) => store.load(cell)));
  const missing = cells.filter((_, i) => !done[i]);
  const lacksFocus = canFocus(agenda.config, task) && !(await store.loadFocus());
  if (missing.length === 0 && !lacksFocus) return;
  const model = await loadWithBar(flags.model, agenda.clip);
  const bar = createBar('asking, {eta_formatted} left,'); // cli-progress fills the time in
  const perCell = shardQuestions(shard, task).length;
  let answered = (cells.length - missing.length) * perCell;
  const made = { commit: describeCommit(), backend, machine: describeMachine() };
  try {
    const exam = {
      ...agenda,
      model: model.llava!,
      stopTokens: model.stopTokens,
      maxNewTokens: flags.newTokens,
    };
    await evaluate(exam, {
      cells: missing,
      onQuestions: (count) => bar.update((answered += count), cells.length * perCell),
      onCell: (cell, answers) => store.save(cell, { ...answers, ...made }),
      onFocus: lacksFocus ? (focus) => store.saveFocus(focus) : undefined,
    });
  } finally {
    bar.stop();
    model.dispose();
  }
}

/** Writes and prints what the store holds. */
async function report(flags: EvalFlags, agenda: Agenda, store: CellStore, files: string[]): Promise<void> {
  const records = await Promise.all(
    agenda.cells.map(async (cell) => ({ cell, record: (await store.load(cell))! })),
  );
  const results = describeResults(flags, agenda, records, await store.loadFocus());
  const text = writeMarkdown(results);
  const contents = [`${JSON.stringify(results, null, 1)}\n`, text, await drawCurves(results)];
  for (const [i, file] of files.entries()) {
    await writeText(file, contents[i]);
  }
  console.log(`${text}\n${files.join('\n')}`);
}

function describeResults(
  { model }: Request,
  { config, task, prompts, budgets }: Agenda,
  records: { cell: Cell; record: CellRecord }[],
  focus: FocusCounts | undefined,
): Results {
  return {
    task: task.name,
    questions: task.questions.length,
    pictures: task.pictures.length,
    model,
    patches: patchCount(config.vision),
    command: ['vtc', ...process.argv.slice(2)].join(' '),
    commits: [...new Set(records.map(({ record }) => record.commit))],
    backends: [...new Set(records.map(({ record }) => record.backend))],
    machines: [...new Set(records.map(({ record }) => record.machine))],
    date: new Date().toISOString().slice(0, 10),
    textTokens: textTokens(config, prompts),
    flopsAtBudget: budgets.map((budget) => ({ budget, flops: flopsWith(config, prompts, budget) })),
    rows: summarise(task, records),
    focus: focus && focusOf(focus),
  };
}
