import path from 'node:path';
import type * as tf from '@tensorflow/tfjs-core';
import type { Command } from 'commander';
import { typeOf, type LlavaConfig } from '../checkpoint/architecture.ts';
import { readCheckedConfig } from '../node/checkpoint.ts';
import type { Model } from '../checkpoint/load.ts';
import { parseBudget } from '../compress/budget.ts';
import type { Method, MethodOptions } from '../compress/method.ts';
import { cacheBytes, prefillMacs } from '../cost.ts';
import { UserError } from '../errors.ts';
import { formatLayers } from '../eval/page/report.ts';
import { checkWritable } from '../node/files.ts';
import { encodePng } from '../node/decode.ts';
import { drawSheet, showPixels, type Panel } from '../report/heatmap.ts';
import { startBackend, type BackendChoice } from '../backend/start.ts';
import type { ImagePrompt } from '../text/prompt.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { gridSide, patchCount } from '../vision/config.ts';
import { scoreByCls } from '../compress/score.ts';
import { prepareAnswer, readsQuestion, type Plan } from '../plan.ts';
import { answer, type Answer } from '../story.ts';
import { scope } from '../tensor/scope.ts';
import { createTrace, type RecordedTrace, type Step } from '../tensor/trace.ts';
import { formatBytes, formatCount, formatShape } from './format.ts';
import {
  addAsk,
  addBackend,
  askOf,
  addMethod,
  addSampling,
  readInteger,
  readMethod,
  readSampling,
  type AskFlags,
  type BackendOption,
  type MethodFlags,
  type SamplingFlags,
} from './options.ts';
import { readPicture, readQuestion } from '../node/inputs.ts';
import type { LoadedPicture } from '../inputs.ts';
import { loadWithBar } from './progress.ts';
import { clipFor, shippedModel } from '../node/shipped.ts';

interface RunFlags extends BackendOption, MethodFlags, SamplingFlags, AskFlags {
  image: string;
  model: string;
  newTokens: number;
  pad: boolean;
  heatmap?: string;
  json: boolean;
}

export function addRunCommand(program: Command): void {
  const command = program
    .command('run')
    .description('answer a question about a picture, and show every step on the way')
    .requiredOption('--image <file>', 'PNG, JPEG or WebP')
    .option(
      '--model <dir>',
      'a Hugging Face folder of type LLaVA; the default comes with this program',
      shippedModel(),
    )
    .option('--new-tokens <R>', 'at most this many tokens of answer', readInteger(1), 64)
    .option('--pad', "pad the picture to a square first, as LLaVA-1.5's own code does", false)
    .option('--heatmap <file>', 'save the attention over the picture as a PNG')
    .option('--json', 'print one JSON object instead of text', false);
  addBackend(addSampling(addMethod(addAsk(command)))).action(run);
}

async function run(flags: RunFlags): Promise<void> {
  if (flags.heatmap !== undefined) {
    if (!['', '.png'].includes(path.extname(flags.heatmap).toLowerCase())) {
      throw new UserError(`--heatmap ${flags.heatmap}: what is written is a PNG, so name it .png`);
    }
    await checkWritable(flags.heatmap);
  }
  // All that can be refused is read first: the weights of a large model take minutes.
  const backend = await startBackend(flags.backend);
  if (!flags.json && flags.model === shippedModel())
    console.log(`model: ${shippedModel()}, which comes with this program`);
  const config = await readLlavaConfig(flags.model);
  const question = await prepareQuestion(flags.model, config, flags);
  const picture = await readPicture(flags.image, flags.model, config.vision.image_size, flags.pad);
  try {
    const model = await loadWithBar(flags.model, question.clip);
    try {
      const result = await answerQuestion(
        model,
        picture,
        question,
        flags,
        flags.json ? undefined : printStep,
      );
      if (flags.heatmap !== undefined) await saveHeatmap(flags.heatmap, config, picture, result);
      if (flags.json) console.log(JSON.stringify(jsonOf(flags, backend, config, question, result), null, 2));
      else printResult(config, result, flags.heatmap);
    } finally {
      model.dispose();
    }
  } finally {
    picture.pixels.dispose();
  }
}

/** @throws UserError when the folder holds only a part of a LLaVA */
export async function readLlavaConfig(dir: string): Promise<LlavaConfig> {
  const architecture = await readCheckedConfig(dir);
  if (architecture.kind !== 'llava') {
    throw new UserError(`${dir} is a ${typeOf(architecture)} checkpoint; a LLaVA is needed here`);
  }
  return architecture;
}

/** What the flags ask of a checkpoint, checked against its config. */
export interface Question {
  method: Method;
  options: MethodOptions;
  budget: number;
  prompt: ImagePrompt;
  plan: Plan;
  tokenizer: Tokenizer;
  /** The folder of a CLIP, where the method reads the question. */
  clip?: string;
}

/** @throws UserError for a method, option or budget that there is not, or a folder that cannot be asked in words */
export async function prepareQuestion(
  dir: string,
  config: LlavaConfig,
  flags: MethodFlags & AskFlags & { newTokens: number },
): Promise<Question> {
  const { method, options } = await readMethod(flags);
  const clip = readsQuestion(method) ? clipFor({ model: dir, clip: flags.clip }) : undefined;
  const budget = parseBudget(flags.keep, patchCount(config.vision));
  const { prompt, tokenizer } = await readQuestion(dir, config, { ...askOf(flags), clip });
  const { newTokens: maxNewTokens, positions } = flags;
  const chosen = { method, methodOptions: options, budget, positions };
  const plan = prepareAnswer(config, chosen, [prompt], { maxNewTokens });
  return { method, options, budget, prompt, plan, tokenizer, clip };
}

export interface QuestionResult {
  text: string;
  answer: Answer;
  steps: readonly Step[];
  /** How much [CLS] attends to each patch in the layers that the method reads, by layer: the mean over heads. */
  layerScores: Map<number, number[]>;
}

/** One question to the model: run, decode the tokens to text. */
export async function answerQuestion(
  model: Model,
  picture: LoadedPicture,
  { plan, prompt, tokenizer }: Question,
  flags: SamplingFlags & Pick<RunFlags, 'newTokens'>,
  onStep?: (step: Step) => void,
): Promise<QuestionResult> {
  using own = scope();
  const trace = own(createTrace((name) => name === 'vision.clsAttention.LL', { onStep }));
  const { stopTokens } = model;
  const options = {
    maxNewTokens: flags.newTokens,
    sampling: readSampling(flags),
    seed: flags.seed,
    stopTokens,
  };
  const answered = await answer(model.llava!, picture.pixels, [prompt], plan, { ...options, trace }); // as its config says
  const text = tokenizer.decode(answered.tokens[0]).trim();
  return { text, answer: answered, steps: trace.steps, layerScores: await headMeans(trace) };
}

async function headMeans({ tensors }: RecordedTrace): Promise<Map<number, number[]>> {
  using own = scope();
  const means = new Map<number, number[]>();
  for (const [key, row] of tensors) {
    const [mean] = await own(scoreByCls(row as tf.Tensor3D)).array(); // [P] of the one picture
    means.set(Number(key.split('.').at(-1)), mean);
  }
  return means;
}

export function printStep({ name, axes, shape, milliseconds }: Step): void {
  const where = formatShape(axes, [...shape]);
  const time = milliseconds < 0.05 ? '' : `${milliseconds.toFixed(1).padStart(9)} ms`; // some steps only show
  console.log(`  ${name.padEnd(24)}${where.padEnd(24)}${time}`.trimEnd());
}

/** What the prompt costs the decoder, on paper. */
export function describeCost(config: LlavaConfig, { promptTokens, prefillLengths }: Answer): string {
  const flops = formatCount(2 * prefillMacs(config.text, prefillLengths));
  const bytes = formatBytes(cacheBytes(config.text, prefillLengths));
  return `${promptTokens} prompt tokens, ${flops}FLOPs to read them, ${bytes} of KV cache`;
}

function printResult(config: LlavaConfig, { text, answer }: QuestionResult, heatmap?: string): void {
  console.log(`answer: ${text}`);
  if (answer.kept) {
    const kept = answer.kept[0];
    console.log(`kept ${kept.length} of ${patchCount(config.vision)} patches: ${kept.join(' ')}`);
  }
  if (new Set(answer.prefillLengths).size > 1)
    console.log(`tokens by decoder layer: ${formatLayers(answer.prefillLengths, 0)}`);
  console.log(`decoder: ${describeCost(config, answer)}`);
  if (heatmap) console.log(`heat map: ${heatmap}`);
}

/** The sheet: picture, each ensembled layer's [CLS] attention, their ensemble, and what was kept. */
export async function saveHeatmap(
  file: string,
  { vision }: LlavaConfig,
  { values, config }: LoadedPicture,
  { layerScores, answer: { scores, kept } }: QuestionResult,
): Promise<void> {
  const grid = gridSide(vision);
  const panels: Panel[] = [{ title: 'what the model sees' }];
  for (const [layer, values] of layerScores)
    panels.push({ title: `[CLS] attention, layer ${layer}`, values });
  if (scores) panels.push({ title: 'scores', values: [...scores[0]] });
  if (kept) panels.push({ title: `kept: ${kept[0].length} of ${grid ** 2}`, kept: kept[0] });
  const picture = showPixels(values, vision.image_size, config);
  await encodePng(await drawSheet(picture, { grid, patch: vision.patch_size }, panels, 3), file);
}

/** What positions a method that works between layers alone gives its tokens: those of the uncut prompt, or means. */
function positionsOf({ stages: [first] }: Method, { between }: Plan): string | undefined {
  if (first !== 'between') return undefined;
  return between!().positions === 'mean' ? 'pooled' : 'original';
}

function jsonOf(
  flags: RunFlags,
  backend: BackendChoice,
  config: LlavaConfig,
  { method, plan, options, budget }: Question,
  { text, answer, steps, layerScores }: QuestionResult,
): object {
  return {
    answer: text,
    tokens: answer.tokens[0],
    model: flags.model,
    image: flags.image,
    question: flags.question,
    prompt: flags.prompt,
    backend: { name: backend.name, device: backend.device, version: backend.version },
    method: method.name,
    options,
    positions: positionsOf(method, plan) ?? flags.positions,
    patches: patchCount(config.vision),
    budget,
    kept: answer.kept?.[0],
    scores: answer.scores && [...answer.scores[0]],
    layerScores: Object.fromEntries(layerScores),
    promptTokens: answer.promptTokens,
    layerTokens: answer.prefillLengths,
    prefillFlops: 2 * prefillMacs(config.text, answer.prefillLengths),
    kvCacheBytes: cacheBytes(config.text, answer.prefillLengths),
    steps,
  };
}
