import path from 'node:path';
import { Option, type Command } from 'commander';
import { startBackend, type BackendChoice } from '../backend/start.ts';
import type { LlavaConfig } from '../checkpoint/architecture.ts';
import { frameChoices, type FrameChoice } from '../compress/frames.ts';
import type { Method } from '../compress/method.ts';
import { cacheBytes, prefillMacs } from '../cost.ts';
import { UserError } from '../errors.ts';
import { countPatches, type Views } from '../image/views.ts';
import { viewsOfPicture } from '../inputs.ts';
import { formatLayers } from '../eval/page/report.ts';
import { checkWritable } from '../node/files.ts';
import { listFrames, readFrames } from '../node/frames.ts';
import { shippedModel } from '../node/shipped.ts';
import type { Plan } from '../plan.ts';
import type { Answer } from '../story.ts';
import { patchCount } from '../vision/config.ts';
import type { Box } from '../world/scene.ts';
import {
  answerQuestion,
  prepareQuestion,
  readLlavaConfig,
  type Question,
  type QuestionResult,
} from './ask.ts';
import { formatBytes, formatCount } from '../report/format.ts';
import { paintRun, saveBoxes, saveHeatmap } from './heatmap.ts';
import {
  addAsk,
  addLoading,
  addMethod,
  addSampling,
  collectBox,
  readInteger,
  type AskFlags,
  type LoadFlags,
  type MethodFlags,
  type SamplingFlags,
} from './options.ts';
import { loadWithBar } from './progress.ts';
import { printSteps } from './walk.ts';

interface RunFlags extends LoadFlags, MethodFlags, SamplingFlags, AskFlags {
  image: string[];
  frames: FrameChoice;
  model: string;
  newTokens: number;
  pad: boolean;
  heatmap?: string;
  box?: Box[];
  draw?: string;
  json: boolean;
  quiet: boolean;
}

export function addRunCommand(program: Command): void {
  const command = program
    .command('run')
    .description('answer a question about a picture or a clip, and show every step on the way')
    .requiredOption(
      '--image <file...>',
      'PNG, JPEG or WebP; a clip’s frames are several, a folder of them, or an animated WebP',
    )
    .addOption(
      new Option(
        '--frames <which>',
        'of a clip: --keep is each frame’s share, or that of one choice over all',
      )
        .choices(frameChoices)
        .default('each'),
    )
    .option(
      '--model <dir>',
      'a Hugging Face folder of type LLaVA, or org/name in its cache; the default comes with this program',
      shippedModel(),
    )
    .option('--new-tokens <R>', 'at most this many tokens of answer', readInteger(1), 64)
    .option('--pad', "pad the picture to a square first, as LLaVA-1.5's own code does", false)
    .option('--heatmap <file>', 'save the attention over the picture as a PNG')
    .option(
      '--box <x0,y0,x1,y1>',
      'what a <loc> of the question stands for, shares of what the model sees; repeatable (perceptiongpt)',
      collectBox,
    )
    .option('--draw <file>', 'save what the model sees with the boxes of its answer as a PNG (perceptiongpt)')
    .addOption(new Option('--quiet', 'print the answer alone').default(false).conflicts('json'))
    .option('--json', 'print one JSON object instead of text', false);
  addLoading(addSampling(addMethod(addAsk(command)))).action(run);
}

async function run(flags: RunFlags): Promise<void> {
  for (const [name, file] of Object.entries({ heatmap: flags.heatmap, draw: flags.draw })) {
    if (file === undefined) continue;
    if (!['', '.png'].includes(path.extname(file).toLowerCase())) {
      throw new UserError(`--${name} ${file}: what is written is a PNG, so name it .png`);
    }
    await checkWritable(file);
  }
  // All that can be refused is read first: the weights of a large model take minutes.
  const backend = await startBackend(flags.backend);
  const tells = !flags.json && !flags.quiet;
  if (tells && flags.model === shippedModel())
    console.log(`model: ${shippedModel()}, which comes with this program`);
  const config = await readLlavaConfig(flags.model, { crops: true });
  const frames = await listFrames(flags.image);
  const crops = config.image_grid_pinpoints !== undefined;
  for (const [option, file] of Object.entries({ heatmap: flags.heatmap, draw: flags.draw })) {
    if (file === undefined || (frames.length === 1 && !crops)) continue;
    const why = crops ? 'and LLaVA-NeXT sees several of it' : `and --image names ${frames.length}`;
    throw new UserError(`--${option} ${file} shows one picture, ${why}`);
  }
  const clip = { pictures: frames.length, frames: flags.frames };
  // How a LLaVA-NeXT sees a picture depends on its size; else the question is held against the config first.
  const asked = crops ? undefined : await prepareQuestion(flags.model, config, flags, clip);
  if (flags.draw !== undefined && !asked?.plan.output) {
    throw new UserError(`--draw ${flags.draw}: ${asked?.method.name} says no boxes; perceptiongpt does`);
  }
  const picture = await readFrames(frames, flags.model, config.vision.image_size, flags.pad);
  try {
    const views = viewsOfPicture(config, picture);
    const question = asked ?? (await prepareQuestion(flags.model, config, flags, { ...clip, views }));
    const model = await loadWithBar(flags.model, { clip: question.clip, weightsAs: flags.weightsAs });
    try {
      const onStep = tells ? printSteps(question.plan.words) : undefined;
      const result = await answerQuestion(model, picture, question, flags, onStep);
      if (flags.heatmap !== undefined) await saveHeatmap(flags.heatmap, config, picture, result);
      if (flags.draw !== undefined) await saveBoxes(flags.draw, config, picture, result.answer.numbers![0]);
      if (flags.json) console.log(JSON.stringify(jsonOf(flags, backend, config, question, result), null, 2));
      else if (flags.quiet) console.log(result.text);
      else {
        if (frames.length === 1 && !views) await paintRun(config, picture, result);
        if (views) console.log(describeViews(views));
        printResult(config, result, flags, views ? countPatches(views) : patchCount(config.vision));
      }
    } finally {
      model.dispose();
    }
  } finally {
    picture.pixels.dispose();
  }
}

/** What the prompt costs the decoder, on paper. */
export function describeCost(config: LlavaConfig, { promptTokens, prefillLengths }: Answer): string {
  const flops = formatCount(2 * prefillMacs(config.text, prefillLengths));
  const bytes = formatBytes(cacheBytes(config.text, prefillLengths));
  return `${promptTokens} prompt tokens, ${flops}FLOPs to read them, ${bytes} of KV cache`;
}

/** How LLaVA-NeXT sees a picture, in words. */
function describeViews({ resolution, crops, rows, columns, views }: Views): string {
  const size = `${resolution.width} × ${resolution.height}`;
  return (
    `seen as ${views.length} views: a thumbnail and ${crops.rows} × ${crops.columns} crops of ${size} pixels, ` +
    `of which ${rows} × ${columns} patches hold the picture, a newline behind each row`
  );
}

function printResult(
  config: LlavaConfig,
  { text, answer }: QuestionResult,
  { heatmap, draw }: Pick<RunFlags, 'heatmap' | 'draw'>,
  patches: number,
): void {
  console.log(`answer: ${text}`);
  for (const [i, kept] of (answer.kept ?? []).entries()) {
    const which = answer.kept!.length > 1 ? ` of frame ${i}` : '';
    const all = answer.scores?.[i].length ?? patches;
    console.log(`kept ${kept.length} of ${all} patches${which}: ${kept.join(' ')}`);
  }
  if (new Set(answer.prefillLengths).size > 1)
    console.log(`tokens by decoder layer: ${formatLayers(answer.prefillLengths, 0)}`);
  console.log(`decoder: ${describeCost(config, answer)}`);
  if (heatmap) console.log(`heat map: ${heatmap}`);
  if (draw) console.log(`boxes: ${draw}`);
}

/** What positions a method that works between layers alone gives its tokens: those of the uncut prompt, or means. */
function positionsOf({ stages: [first] }: Method, { between }: Plan): string | undefined {
  if (first !== 'between') return undefined;
  return between!().positions === 'mean' ? 'pooled' : 'original';
}

/** What there is of each picture: of one alone as it is. */
const ofEach = <T>(pictures: T[] | undefined): T | T[] | undefined =>
  pictures?.length === 1 ? pictures[0] : pictures;

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
    boxes: answer.numbers?.[0],
    model: flags.model,
    image: flags.image.length === 1 ? flags.image[0] : flags.image,
    question: flags.question,
    prompt: flags.prompt,
    backend: { name: backend.name, device: backend.device, version: backend.version },
    method: method.name,
    options,
    positions: positionsOf(method, plan) ?? flags.positions,
    patches: patchCount(config.vision),
    budget,
    kept: ofEach(answer.kept),
    scores: ofEach(answer.scores?.map((row) => [...row])),
    layerScores: Object.fromEntries(layerScores),
    promptTokens: answer.promptTokens,
    layerTokens: answer.prefillLengths,
    prefillFlops: 2 * prefillMacs(config.text, answer.prefillLengths),
    kvCacheBytes: cacheBytes(config.text, answer.prefillLengths),
    steps,
  };
}
