import { existsSync } from 'node:fs';
import path from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { isUncut, type CellRecord } from '../eval/run/cell.ts';
import { drawCurves } from '../eval/page/curves.ts';
import { drawKeptMaps } from '../eval/page/kept-map.ts';
import { evaluate } from '../eval/run/evaluate.ts';
import { fillings } from '../eval/run/fill.ts';
import { canFocus, focusOf, joinFocus, type FocusCounts } from '../eval/run/focus.ts';
import { findShards, mergeShards } from '../eval/shards/merge.ts';
import {
  draftAgenda,
  readRequest,
  shareCells,
  worldTasks,
  type Agenda,
  type Request,
} from '../eval/run/agenda.ts';
import { describeCommit, describeMachine } from '../node/provenance.ts';
import { writeMarkdown, type Results } from '../eval/page/report.ts';
import { scorings } from '../eval/task/scoring.ts';
import { nameShard, parseShard, shardQuestions, whole, type Shard } from '../eval/shards/shard.ts';
import { openStore, writeJson, type CellStore } from '../eval/shards/store.ts';
import { flopsWith, textTokens } from '../eval/page/costs.ts';
import { summarise, type Done } from '../eval/page/summary.ts';
import { UserError } from '../errors.ts';
import { checkWritable, writeText } from '../node/files.ts';
import { startBackend } from '../backend/start.ts';
import { patchCount } from '../vision/config.ts';
import { splits } from '../world/split.ts';
import { addLoading, addClip, addWeights, addTemplate, readInteger, type LoadFlags } from './options.ts';
import { createBar, loadWithBar } from './progress.ts';
import { readLlavaConfig } from './ask.ts';
import { clipFor, shippedModel } from '../node/shipped.ts';

interface EvalFlags extends LoadFlags, Omit<Request, 'model'> {
  /** Several where their figures are to be one table. */
  model: string[];
  shard: Shard;
  merge?: string[];
  against?: string;
  hard?: string;
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
      '--model <dir...>',
      'a Hugging Face folder of type LLaVA, or org/name in its cache; the default comes with this program; several for a table of means over ' +
        'models that differ by their seed',
      [shippedModel()],
    )
    .addOption(
      new Option(
        '--task <name>',
        'the drawn world in words, with boxes to be said or to be named, or --questions in the format of POPE, VQA or vtc world',
      )
        .choices([...worldTasks, ...Object.keys(scorings)])
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
      'with commas between, all, trained or all+NAME; options follow a colon: vtc-cls:layers=1:positions=original',
      defaultMethods.join(),
    )
    .option('--seeds <n>', 'methods with a seed run under 0 to n − 1, unless one is given', readInteger(1), 3)
    .option('--keep <list>', 'visual tokens to keep: counts, ratios or percentages', '50%,25%,12.5%,6.25%')
    .option('--new-tokens <R>', 'at most this many tokens of answer', readInteger(1), 3)
    .option('--against <method>', 'one of the methods: all others are held against it, question by question')
    .option(
      '--hard <method>',
      'one of the methods: questions that it gets wrong and the uncut model right are the hard ones',
    )
    .addOption(
      new Option(
        '--fill <what>',
        'a probe: fill the places of dropped patches, with what the tower makes of a blank picture',
      )
        .choices(fillings)
        .default('none'),
    )
    .option('--shard <i/n>', 'only the i-th of n equal parts of the pictures', readShard, whole)
    .option(
      '--merge <dir...>',
      "join the folders of all n shards; all else is taken from the shards' own flags",
    )
    .requiredOption(
      '--out <dir>',
      'folder for results; an evaluation that was cut off goes on where it stopped',
    );
  addLoading(addWeights(addClip(addTemplate(command)))).action((flags: EvalFlags) =>
    flags.merge ? merge(flags, command) : run(flags),
  );
}

function readShard(text: string): Shard {
  const shard = parseShard(text);
  if (!shard) throw new InvalidArgumentError('It should be i/n with 1 ≤ i ≤ n, such as 2/4.');
  return shard;
}

/** What results do not depend on. */
const besides = ['backend', 'weightsAs', 'shard', 'merge', 'against', 'hard', 'out'];

const requestOf = (flags: EvalFlags, model: string): Request => {
  const entries = Object.entries(flags).filter(([name]) => !besides.includes(name));
  const asked = { ...(Object.fromEntries(entries) as Omit<EvalFlags, keyof LoadFlags>), model };
  return { ...asked, clip: clipFor(asked) };
};

async function run(flags: EvalFlags): Promise<void> {
  const backend = await startBackend(flags.backend);
  const models = flags.model;
  if (models.length > 1 && flags.shard.count > 1) {
    throw new UserError(`--shard ${nameShard(flags.shard)}: one model at a time, not ${models.length}`);
  }
  const requests = models.map((model) => requestOf(flags, model));
  const drafts: Agenda[] = [];
  for (const request of requests) {
    drafts.push(await draftAgenda(request, await readLlavaConfig(request.model), flags.shard));
  }
  const agendas = shareCells(drafts);
  checkComparisons(flags, agendas[0]);
  const files = await resultFiles(flags.out);
  tellLeftOut(models, drafts);
  const stores: CellStore[] = [];
  for (const [i, agenda] of agendas.entries()) {
    const folder = models.length === 1 ? flags.out : path.join(flags.out, `model-${i + 1}`);
    const store = await openStore(folder, agenda.key, agenda);
    await writeJson(path.join(folder, 'flags.json'), requests[i]);
    await doWork(requests[i], agenda, store, { backend: backend.name, weightsAs: flags.weightsAs });
    stores.push(store);
  }
  if (flags.shard.count === 1) return report(flags, models, agendas[0], stores, files);
  console.log(
    `shard ${nameShard(flags.shard)} is done: when all are, vtc eval --merge and their folders makes the tables`,
  );
}

/** Each reason once, with those of the models that it is true of. */
function tellLeftOut(models: readonly string[], agendas: readonly Agenda[]): void {
  for (const reason of new Set(agendas.flatMap(({ leftOut }) => leftOut))) {
    const whose = models.filter((_, i) => agendas[i].leftOut.includes(reason));
    const of = whose.length < models.length ? ` for ${whose.join(' and ')}, so for all` : '';
    console.log(`left out${of}: ${reason}`);
  }
}

/** @throws UserError for a series that no cell has */
function checkComparisons({ against, hard }: EvalFlags, { cells }: Pick<Agenda, 'cells'>): void {
  const series = [...new Set(cells.map(({ variant }) => variant.series))];
  for (const [flag, name] of Object.entries({ against, hard })) {
    if (name !== undefined && !series.includes(name)) {
      throw new UserError(`--${flag} ${name}: is none of the methods asked for, ${series.join(', ')}`);
    }
  }
  if (hard !== undefined && !series.includes('none')) {
    throw new UserError(`--hard ${hard}: what is hard is told from the uncut model: add none to --methods`);
  }
}

async function merge(flags: EvalFlags, command: Command): Promise<void> {
  const own = Object.keys({ ...requestOf(flags, ''), shard: '' });
  const extra = own.find((name) => command.getOptionValueSource(name) === 'cli');
  if (extra)
    throw new UserError(
      `--merge takes --${extra.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)} from the shards' folders: leave it out`,
    );
  const shards = await findShards(flags.merge!);
  const request = readRequest(shards[0].flags, path.join(shards[0].folder, 'flags.json'));
  const agenda = await draftAgenda(request, await readLlavaConfig(request.model), whole);
  checkComparisons(flags, agenda);
  const files = await resultFiles(flags.out);
  const store = await mergeShards(shards, agenda, () => openStore(flags.out, agenda.key, agenda));
  await report({ ...flags, fill: request.fill }, [request.model], agenda, [store], files);
}

/** Where the results go; where their folder is there, whether they can. */
async function resultFiles(out: string): Promise<string[]> {
  const files = ['results.json', 'results.md', 'curves.svg', 'kept.svg'].map((name) => path.join(out, name));
  if (existsSync(out)) for (const file of files) await checkWritable(file);
  return files;
}

/** In the log of a job. */
const minutesBetweenLines = 5;

/** Does those cells of the agenda that the store lacks, and leaves them there. */
async function doWork(
  request: Request,
  agenda: Agenda,
  store: CellStore,
  { backend, weightsAs }: LoadFlags,
): Promise<void> {
  const { cells, task, shard } = agenda;
  const done = await Promise.all(cells.map((cell) => store.load(cell)));
  const uncut = await store.loadUncut();
  const lacking = cells.filter((_, i) => !done[i]);
  // Held against an uncut model that is not on record, cells would need it asked once more.
  const missing = cells.filter((cell, i) => !done[i] || (!uncut && isUncut(cell) && lacking.length > 0));
  const lacksFocus = canFocus(agenda.config, task) && !(await store.loadFocus());
  if (missing.length === 0 && !lacksFocus) return;
  const model = await loadWithBar(request.model, { clip: agenda.clip, weightsAs });
  const what = process.stderr.isTTY ? 'asking, {eta_formatted} left,' : 'asked'; // cli-progress fills the time in
  const bar = createBar(what, String, minutesBetweenLines);
  const perCell = shardQuestions(shard, task).length;
  let answered = (cells.length - missing.length) * perCell;
  const made = { commit: describeCommit(), backend, machine: describeMachine() };
  try {
    const exam = {
      ...agenda,
      model: model.llava!,
      stopTokens: model.stopTokens,
      maxNewTokens: request.newTokens,
      fill: request.fill,
    };
    await evaluate(exam, {
      cells: missing,
      uncut,
      onUncut: (firsts) => store.saveUncut(firsts),
      onQuestions: (count) => bar.update((answered += count), cells.length * perCell),
      onCell: (cell, answers) => store.save(cell, { ...answers, ...made }),
      onFocus: lacksFocus ? (focus) => store.saveFocus(focus) : undefined,
    });
  } finally {
    bar.stop();
    model.dispose();
  }
}

/** Writes and prints what the stores hold, one of each model. */
async function report(
  flags: EvalFlags,
  models: string[],
  agenda: Agenda,
  stores: readonly CellStore[],
  files: string[],
): Promise<void> {
  const done: Done[] = [];
  for (const cell of agenda.cells) {
    for (const [model, store] of stores.entries()) {
      done.push({ cell, record: (await store.load(cell))!, model });
    }
  }
  const parts = await Promise.all(stores.map((store) => store.loadFocus()));
  const focus = parts.every((part) => part !== undefined) ? joinFocus(parts) : undefined;
  const results = describeResults(flags, models, agenda, done, focus);
  const text = writeMarkdown(results);
  const json = `${JSON.stringify(results, null, 1)}\n`;
  const contents = [json, text, await drawCurves(results), await drawKeptMaps(results)];
  const written = files.filter((_, i) => contents[i] !== undefined);
  for (const [i, file] of files.entries()) {
    if (contents[i] !== undefined) await writeText(file, contents[i]);
  }
  console.log(`${text}\n${written.join('\n')}`);
}

function describeResults(
  { against, hard, fill }: EvalFlags,
  models: string[],
  { config, task, prompts, budgets }: Agenda,
  done: readonly Done[],
  focus: FocusCounts | undefined,
): Results {
  const records = done.map(({ record }) => record);
  const distinct = (of: (record: CellRecord) => string) => [...new Set(records.map(of))];
  return {
    task: task.name,
    questions: task.questions.length,
    pictures: task.pictures.length,
    models,
    fill,
    comparisons: { against, hard },
    patches: patchCount(config.vision),
    command: ['vtc', ...process.argv.slice(2)].join(' '),
    commits: distinct(({ commit }) => commit),
    backends: distinct(({ backend }) => backend),
    machines: distinct(({ machine }) => machine),
    date: new Date().toISOString().slice(0, 10),
    textTokens: textTokens(config, prompts),
    flopsAtBudget: budgets.map((budget) => ({ budget, flops: flopsWith(config, prompts, budget) })),
    rows: summarise(task, done, { against, hard }),
    focus: focus && focusOf(focus),
  };
}
