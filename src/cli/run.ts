import type { Command } from 'commander';
import type { Llava, Model } from '../checkpoint/load.ts';
import { parseBudget } from '../compress/budget.ts';
import { cacheBytes, prefillMacs } from '../cost.ts';
import { UserError } from '../errors.ts';
import { checkWritable } from '../files.ts';
import { encodePng } from '../image/decode.ts';
import { drawSheet, showPixels, type Panel } from '../report/heatmap.ts';
import { startBackend, type BackendChoice } from '../tensor/backend.ts';
import { gridSide, patchCount } from '../vision/config.ts';
import { runVlm, type VlmAnswer, type WalkStep } from '../vlm.ts';
import { formatBytes, formatCount, formatShape } from './format.ts';
import {
  addBackend,
  addMethod,
  addSampling,
  readInteger,
  readMethod,
  readSampling,
  type BackendOption,
  type MethodFlags,
  type SamplingFlags,
} from './options.ts';
import { readPicture, readQuestion, type LoadedPicture } from './picture.ts';
import { loadWithBar } from './progress.ts';

interface RunFlags extends BackendOption, MethodFlags, SamplingFlags {
  image: string;
  question: string;
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
    .requiredOption('--question <text>', 'what to ask')
    .requiredOption('--model <dir>', 'a Hugging Face folder of type LLaVA')
    .option('--new-tokens <R>', 'at most this many tokens of answer', readInteger(1), 64)
    .option('--pad', "pad the picture to a square first, as LLaVA-1.5's own code does", false)
    .option('--heatmap <file>', 'save the attention over the picture as a PNG')
    .option('--json', 'print one JSON object instead of text', false);
  addBackend(addSampling(addMethod(command))).action(run);
}

async function run(flags: RunFlags): Promise<void> {
  if (flags.heatmap) await checkWritable(flags.heatmap);
  const backend = await startBackend(flags.backend);
  const model = await loadWithBar(flags.model);
  try {
    const llava = requireLlava(model);
    const picture = await readPicture(flags.image, model.dir, llava.config.vision.image_size, flags.pad);
    try {
      const result = await answerQuestion(model, llava, picture, flags, flags.json ? undefined : printStep);
      if (flags.heatmap) await saveHeatmap(flags.heatmap, llava, picture, result.answer);
      if (flags.json) console.log(JSON.stringify(jsonOf(flags, backend, llava, result), null, 2));
      else printResult(llava, result, flags.heatmap);
    } finally {
      picture.pixels.dispose();
    }
  } finally {
    model.dispose();
  }
}

/** @throws UserError when the folder holds only a part of a LLaVA */
export function requireLlava(model: Model): Llava {
  if (!model.llava) {
    throw new UserError(`${model.dir} is a ${model.architecture.kind} checkpoint; a LLaVA is needed here`);
  }
  return model.llava;
}

export interface QuestionResult {
  text: string;
  answer: VlmAnswer;
  budget: number;
  steps: WalkStep[];
}

/** One question to the model: tokenize, run, decode the tokens to text. */
export async function answerQuestion(
  model: Model,
  llava: Llava,
  picture: LoadedPicture,
  flags: MethodFlags & SamplingFlags & { question: string; newTokens: number },
  onStep?: (step: WalkStep) => void,
): Promise<QuestionResult> {
  const { method, options } = readMethod(flags);
  const budget = parseBudget(flags.keep, patchCount(llava.config.vision));
  const { prompt, tokenizer } = await readQuestion(model.dir, llava, flags.question);
  const steps: WalkStep[] = [];
  const answer = await runVlm(
    llava,
    { pixels: picture.pixels, prompts: [prompt] },
    {
      method,
      methodOptions: options,
      budget,
      positions: flags.positions,
      maxNewTokens: flags.newTokens,
      sampling: readSampling(flags),
      seed: flags.seed,
      stopTokens: model.stopTokens,
      onStep: (step) => {
        steps.push(step);
        onStep?.(step);
      },
    },
  );
  return { text: tokenizer.decode(answer.tokens[0]).trim(), answer, budget, steps };
}

export function printStep({ name, axes, shape, milliseconds }: WalkStep): void {
  const where = formatShape(axes, shape);
  console.log(`  ${name.padEnd(18)}${where.padEnd(24)}${milliseconds.toFixed(1).padStart(9)} ms`);
}

function printResult(llava: Llava, { text, answer }: QuestionResult, heatmap?: string): void {
  const { vision, text: config } = llava.config;
  console.log(`answer: ${text}`);
  if (answer.kept) {
    const kept = answer.kept[0];
    console.log(`kept ${kept.length} of ${patchCount(vision)} patches: ${kept.join(' ')}`);
  }
  console.log(
    `decoder: ${answer.promptTokens} prompt tokens, ` +
      `${formatCount(2 * prefillMacs(config, answer.prefillLengths))}FLOPs to read them, ` +
      `${formatBytes(cacheBytes(config, answer.prefillLengths))} of KV cache`,
  );
  if (heatmap) console.log(`heat map: ${heatmap}`);
}

/** The sheet: picture, each ensembled layer's [CLS] attention, their ensemble, and what was kept. */
export async function saveHeatmap(
  file: string,
  llava: Llava,
  { values, config }: LoadedPicture,
  { layerScores, scores, kept }: VlmAnswer,
): Promise<void> {
  const grid = gridSide(llava.config.vision);
  const panels: Panel[] = [{ title: 'what the model sees' }];
  for (const [layer, rows] of layerScores)
    panels.push({ title: `[CLS] attention, layer ${layer}`, values: rows[0] });
  if (scores) panels.push({ title: 'ensemble', values: scores[0] });
  if (kept) panels.push({ title: `kept: ${kept[0].length} of ${grid ** 2}`, kept: kept[0] });
  const picture = showPixels(values, llava.config.vision.image_size, config);
  await encodePng(await drawSheet(picture, grid, panels, 3), file);
}

function jsonOf(flags: RunFlags, backend: BackendChoice, llava: Llava, result: QuestionResult): object {
  const { text, answer, budget, steps } = result;
  return {
    answer: text,
    tokens: answer.tokens[0],
    model: flags.model,
    image: flags.image,
    question: flags.question,
    backend: { name: backend.name, device: backend.device, version: backend.version },
    method: flags.method,
    options: readMethod(flags).options,
    positions: flags.positions,
    patches: patchCount(llava.config.vision),
    budget,
    kept: answer.kept?.[0],
    scores: answer.scores?.[0],
    promptTokens: answer.promptTokens,
    layerTokens: answer.prefillLengths,
    prefillFlops: 2 * prefillMacs(llava.config.text, answer.prefillLengths),
    kvCacheBytes: cacheBytes(llava.config.text, answer.prefillLengths),
    steps,
  };
}
