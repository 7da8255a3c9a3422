/** From what was asked for to what is to be done: refused here is all that can be before the weights are loaded. */
import path from 'node:path';
import type { LlavaConfig } from '../../checkpoint/architecture.ts';
import { parseBudget } from '../../compress/budget.ts';
import { UserError } from '../../errors.ts';
import { readPreprocessConfig } from '../../node/checkpoint.ts';
import type { PreprocessConfig } from '../../image/preprocess.ts';
import { methodFinder } from '../../node/method-file.ts';
import { readAsker, readClipConfig } from '../../node/inputs.ts';
import { fieldReader, type JsonObject } from '../../json.ts';
import type { ImagePrompt } from '../../text/prompt.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { patchCount } from '../../vision/config.ts';
import { prepareAnswer, readsQuestion } from '../../plan.ts';
import { splits, type Split } from '../../world/split.ts';
import { cellName, planCells, type Cell } from './cell.ts';
import { canFill, fillings, type Filling } from './fill.ts';
import { readTask } from '../task/question-file.ts';
import { scorings, type ScoringName } from '../task/scoring.ts';
import { checkShard, nameShard, type Shard } from '../shards/shard.ts';
import { digestModel, digestQuestions, type RunKey } from '../shards/store.ts';
import type { Task } from '../task/task.ts';
import { isPlain, namesAll, parseVariants } from './variant.ts';
import { createBoxTask, createWorldTask } from '../task/world-task.ts';

/** An evaluation as its user asks for it; all that decides what is in its results. */
export type Request = {
  model: string;
  /** The CLIP that reads the questions, for methods that do. */
  clip?: string;
  task: WorldTask | ScoringName;
  split: Split;
  count?: number;
  questions?: string;
  images?: string;
  suffix: string;
  /** A chat template's file, instead of the model's own. */
  template?: string;
  pad: boolean;
  methods: string;
  /** The folder of trained systems' weights. */
  weights?: string;
  seeds: number;
  keep: string;
  newTokens: number;
  /** What the places of dropped patches are filled with; see fill.ts. */
  fill: Filling;
};

/**
 * A request as a shard's folder keeps it.
 * @param file names it in messages
 * @throws UserError for a flag that is missing or of another kind
 */
export function readRequest(flags: JsonObject, file: string): Request {
  const fields = fieldReader(flags, file);
  const optional = <T>(name: string, read: (name: string) => T): T | undefined =>
    flags[name] === undefined ? undefined : read(name);
  return {
    model: fields.text('model'),
    clip: optional('clip', fields.text),
    task: fields.choice('task', [...worldTasks, ...scoringNames]),
    split: fields.choice('split', splits),
    count: optional('count', fields.count),
    questions: optional('questions', fields.text),
    images: optional('images', fields.text),
    suffix: fields.text('suffix'),
    pad: fields.flag('pad'),
    methods: fields.text('methods'),
    weights: optional('weights', fields.text),
    seeds: fields.count('seeds'),
    keep: fields.text('keep'),
    newTokens: fields.count('newTokens'),
    fill: fields.choice('fill', fillings),
  };
}

/** Tasks of drawn scenes: with words, with boxes to be said, and with boxes to be named. */
export const worldTasks = ['world', 'boxes', 'names'] as const;
type WorldTask = (typeof worldTasks)[number];

const scoringNames = Object.keys(scorings) as ScoringName[];

export interface Agenda {
  config: LlavaConfig;
  task: Task;
  /** One for each question. */
  prompts: ImagePrompt[];
  tokenizer: Tokenizer;
  preprocessing: PreprocessConfig;
  budgets: number[];
  cells: Cell[];
  /** Cells of `all` methods that the model or the budget cannot serve, with the reason. */
  leftOut: string[];
  shard: Shard;
  /** The folder of a CLIP, where a method reads the question. */
  clip?: string;
  key: RunKey;
}

/** @throws UserError for a request that there is no evaluation for */
export async function draftAgenda(request: Request, config: LlavaConfig, shard: Shard): Promise<Agenda> {
  const patches = patchCount(config.vision);
  const budgets = [...new Set(request.keep.split(',').map((keep) => parseBudget(keep, patches)))];
  const { weights } = request;
  const find = await methodFinder(request.methods.split(','), { config, weights });
  const planned = planCells(parseVariants(request.methods, request.seeds, find), budgets, patches);
  const task = await openTask(request);
  checkShard(shard, task);
  const reads = planned.some(({ variant }) => readsQuestion(variant.method));
  if (request.clip !== undefined) await readClipConfig(request.clip); // even where none reads: it is in the key
  const clip = reads ? request.clip : undefined;
  const adds = [...new Set(planned.flatMap(({ variant }) => variant.method.adds ?? []))];
  checkBoxes(task, planned);
  const { ask, tokenizer } = await readAsker(request.model, config, {
    clip,
    template: request.template,
    adds,
  });
  const prompts = task.questions.map(({ id, question, numbers }) => {
    try {
      return { ...ask(question), numbers };
    } catch (error) {
      throw error instanceof UserError ? new UserError(`question ${id}: ${error.message}`) : error;
    }
  });
  const length = ({ before, after }: ImagePrompt) => before.length + after.length;
  const longest = prompts.reduce((a, b) => (length(b) > length(a) ? b : a));
  const leftOut: string[] = [];
  const cells = planned.filter(({ variant, budget }) => {
    try {
      const decoding = { maxNewTokens: request.newTokens };
      const plan = prepareAnswer(config, { ...variant, budget }, [longest], decoding);
      if (request.fill !== 'none' && variant.method.name !== 'none' && !canFill(plan)) {
        throw new UserError(
          `--fill ${request.fill}: ${variant.name} does more than drop patches before the decoder, so it leaves no places to fill`,
        );
      }
      return true;
    } catch (error) {
      const asked = !namesAll(request.methods) || !isPlain(variant);
      if (asked || variant.method.name === 'none' || !(error instanceof UserError)) throw error;
      leftOut.push(`${variant.name} at ${budget}: ${error.message}`);
      return false;
    }
  });
  const preprocessing = await readPreprocessConfig(request.model, config.vision.image_size, request.pad);
  const key = {
    task: task.name,
    questions: digestQuestions(task),
    images: request.questions === undefined ? '' : imagesOf(request),
    model: await digestModel(request.model, request.template),
    clip: request.clip === undefined ? 'none' : await digestModel(request.clip),
    maxNewTokens: request.newTokens,
    pad: request.pad,
    fill: request.fill,
    shard: nameShard(shard),
  };
  return { config, task, prompts, tokenizer, preprocessing, budgets, cells, leftOut, shard, clip, key };
}

/** The cells that all of several models can do: a table's figures are means over them. */
export function shareCells(agendas: readonly Agenda[]): Agenda[] {
  const names = agendas.map(({ cells }) => new Set(cells.map(cellName)));
  const isShared = (cell: Cell) => names.every((own) => own.has(cellName(cell)));
  return agendas.map((agenda) => ({ ...agenda, cells: agenda.cells.filter(isShared) }));
}

/** @throws UserError for a task of boxes and a method that has no word for one */
function checkBoxes({ questions, scoring }: Task, cells: readonly Cell[]): void {
  if (scoring !== 'boxes' && questions.every(({ numbers }) => !numbers)) return;
  const without = cells.find(({ variant }) => !variant.method.adds?.length);
  if (!without) return;
  const { name } = without.variant.method;
  const stacked = name === 'none' ? 'perceptiongpt' : `${name}+perceptiongpt`;
  throw new UserError(`--methods ${name} has no word for a box, which this task asks about: give ${stacked}`);
}

/** The folder of the pictures: that of the questions, unless another is named. */
const imagesOf = ({ images, questions }: Pick<Request, 'images' | 'questions'>): string =>
  images ?? path.dirname(questions!);

const isWorld = (task: Request['task']): task is WorldTask =>
  (worldTasks as readonly string[]).includes(task);

function openTask({ task, split, count, questions, images, suffix }: Request): Promise<Task> | Task {
  if (!isWorld(task)) {
    if (questions === undefined) throw new UserError(`--task ${task} needs --questions FILE`);
    return readTask({
      file: questions,
      images: imagesOf({ images, questions }),
      scoring: task,
      count,
      suffix,
    });
  }
  if (questions !== undefined || images !== undefined || suffix !== '') {
    throw new UserError(
      `--task ${task} asks its own questions: give --task ${Object.keys(scorings).join(' or ')} with --questions`,
    );
  }
  return task === 'world' ? createWorldTask(split, count ?? 1000) : createBoxTask(task, split, count ?? 1000);
}
