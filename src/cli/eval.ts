import path from 'node:path';
import { Option, type Command } from 'commander';
import type { LlavaConfig } from '../checkpoint/architecture.ts';
import { parseBudget } from '../compress/budget.ts';
import { planCells, type Cell, type CellRecord } from '../eval/cell.ts';
import { evaluate } from '../eval/evaluate.ts';
import { canFocus, type Focus } from '../eval/focus.ts';
import { describeCommit, describeMachine } from '../eval/provenance.ts';
import { drawCurves, writeMarkdown, type Results } from '../eval/report.ts';
import { digestModel, digestQuestions, openStore, type CellStore, type RunKey } from '../eval/store.ts';
import { flopsWith, summarise } from '../eval/summary.ts';
import type { Task } from '../eval/task.ts';
import { parseVariants } from '../eval/variant.ts';
import { createWorldTask } from '../eval/world-task.ts';
import { checkWritable, writeText } from '../files.ts';
import { readPreprocessConfig, type PreprocessConfig } from '../image/preprocess.ts';
import { readAsker } from '../inputs.ts';
import { startBackend } from '../tensor/backend.ts';
import type { ImagePrompt } from '../text/prompt.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { patchCount } from '../vision/config.ts';
import { checkVlm } from '../vlm.ts';
import { splits, type Split } from '../world/split.ts';
import { addBackend, readInteger, type BackendOption } from './options.ts';
import { createBar, loadWithBar } from './progress.ts';
import { shippedLlava } from './shipped.ts';
import { readLlavaConfig } from './run.ts';

interface EvalFlags extends BackendOption {
  model: string;
  task: 'world';
  split: Split;
  count: number;
  methods: string;
  keep: string;
  newTokens: number;
  out: string;
}

const defaultMethods = [
  'none',
  'vtc-cls:layers=1',
  'vtc-cls',
  'vtc-cls:positions=original',
  'random:seed=0',
  'random:seed=1',
  'random:seed=2',
  'uniform',
];

export function addEvalCommand(program: Command): void {
  const command = program
    .command('eval')
    .description('measure how accuracy falls with the tokens kept, method by method')
    .option(
      '--model <dir>',
      'a Hugging Face folder of type LLaVA; the default comes with this program',
      shippedLlava,
    )
    .addOption(new Option('--task <name>', 'what is asked').choices(['world']).default('world'))
    .addOption(new Option('--split <name>', 'which scenes of the world').choices(splits).default('test'))
    .option('--count <n>', 'number of scenes', readInteger(1), 1000)
    .option(
      '--methods <list>',
      'with commas between; options follow a colon: vtc-cls:layers=1:positions=original; seeds are averaged',
      defaultMethods.join(),
    )
    .option('--keep <list>', 'visual tokens to keep: counts, ratios or percentages', '50%,25%,12.5%,6.25%')
    .option('--new-tokens <R>', 'at most this many tokens of answer', readInteger(1), 3)
    .requiredOption(
      '--out <dir>',
      'folder for results; an evaluation that was cut off goes on where it stopped',
    );
  addBackend(command).action(run);
}

async function run(flags: EvalFlags): Promise<void> {
  // All that can be refused is read first: the weights of a large model take minutes.
  const backend = await startBackend(flags.backend);
  const plan = await makePlan(flags);
  const store = await openStore(flags.out, plan.key);
  const files = ['results.json', 'results.md', 'curves.svg'].map((name) => path.join(flags.out, name));
  for (const file of files) await checkWritable(file);

  const { records, focus } = await doWork(flags, plan, store, backend.name);
  const results = describeResults(flags, plan, records, focus);
  const text = writeMarkdown(results);
  const contents = [`${JSON.stringify(results, null, 1)}\n`, text, await drawCurves(results)];
  for (const [i, file] of files.entries()) {
    await writeText(file, contents[i]);
  }
  console.log(`${text}\n${files.join('\n')}`);
}

interface Plan {
  config: LlavaConfig;
  task: Task;
  prompts: ImagePrompt[];
  tokenizer: Tokenizer;
  preprocessing: PreprocessConfig;
  budgets: number[];
  cells: Cell[];
  key: RunKey;
}

/** @throws UserError for flags that there is no evaluation for */
async function makePlan(flags: EvalFlags): Promise<Plan> {
  const config = await readLlavaConfig(flags.model);
  const patches = patchCount(config.vision);
  const budgets = [...new Set(flags.keep.split(',').map((keep) => parseBudget(keep, patches)))];
  const cells = planCells(parseVariants(flags.methods), budgets, patches);
  const task = createWorldTask(flags.split, flags.count);
  const questions = task.questions.map(({ question }) => question);
  const { ask, tokenizer } = await readAsker(flags.model, config);
  const prompts = questions.map(ask);
  const length = ({ before, after }: ImagePrompt) => before.length + after.length;
  const longest = prompts.reduce((a, b) => (length(b) > length(a) ? b : a));
  for (const { variant, budget } of cells) {
    checkVlm(config, [longest], { ...variant, budget, maxNewTokens: flags.newTokens });
  }
  const preprocessing = await readPreprocessConfig(flags.model, config.vision.image_size, false);
  const key = {
    task: task.name,
    questions: digestQuestions(task),
    model: await digestModel(flags.model),
    maxNewTokens: flags.newTokens,
  };
  return { config, task, prompts, tokenizer, preprocessing, budgets, cells, key };
}

/** Takes what is done from the store, does the rest and leaves it there. */
async function doWork(flags: EvalFlags, plan: Plan, store: CellStore, backend: string) {
  const { cells, task } = plan;
  const done = new Map<Cell, CellRecord>();
  for (const cell of cells) {
    const record = await store.load(cell);
    if (record) done.set(cell, record);
  }
  let focus = await store.loadFocus();
  const missing = cells.filter((cell) => !done.has(cell));
  const lacksFocus = !focus && canFocus(plan.config, task);
  if (missing.length > 0 || lacksFocus) {
    const model = await loadWithBar(flags.model);
    const bar = createBar('asking, {eta_formatted} left,'); // cli-progress fills the time in
    let answered = done.size * task.questions.length;
    const made = { commit: describeCommit(), backend };
    try {
      const exam = {
        ...plan,
        model: model.llava!,
        stopTokens: model.stopTokens,
        maxNewTokens: flags.newTokens,
      };
      await evaluate(exam, {
        cells: missing,
        onQuestions: (count) => bar.update((answered += count), cells.length * task.questions.length),
        onCell: async (cell, answers) => {
          const record = { ...answers, ...made };
          await store.save(cell, record);
          done.set(cell, record);
        },
        onFocus: lacksFocus ? (measured) => store.saveFocus((focus = measured)) : undefined,
      });
    } finally {
      bar.stop();
      model.dispose();
    }
  }
  return { records: cells.map((cell) => ({ cell, record: done.get(cell)! })), focus };
}

function describeResults(
  flags: EvalFlags,
  { config, task, prompts, budgets }: Plan,
  records: { cell: Cell; record: CellRecord }[],
  focus: Focus | undefined,
): Results {
  return {
    task: task.name,
    questions: task.questions.length,
    pictures: task.pictures.length,
    model: flags.model,
    patches: patchCount(config.vision),
    command: ['vtc', ...process.argv.slice(2)].join(' '),
    commits: [...new Set(records.map(({ record }) => record.commit))],
    backends: [...new Set(records.map(({ record }) => record.backend))],
    machine: describeMachine(),
    date: new Date().toISOString().slice(0, 10),
    flopsAtBudget: budgets.map((budget) => ({ budget, flops: flopsWith(config, prompts, budget) })),
    rows: summarise(task, records),
    focus,
  };
}
