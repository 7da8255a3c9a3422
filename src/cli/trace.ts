import { Option, type Command } from 'commander';
import * as tf from '@tensorflow/tfjs-core';
import type { Architecture } from '../checkpoint/architecture.ts';
import { readCheckedConfig, readTokenizer } from '../node/checkpoint.ts';
import type { Model } from '../checkpoint/load.ts';
import { parseBudget } from '../compress/budget.ts';
import type { Method } from '../compress/method.ts';
import { checkContext, generate } from '../decoder/generate.ts';
import { embedText } from '../decoder/splice.ts';
import { UserError } from '../errors.ts';
import { checkWritable } from '../node/files.ts';
import { openSafetensors, writeSafetensors } from '../node/safetensors.ts';
import type { TensorToWrite } from '../io/safetensors.ts';
import { startBackend } from '../backend/start.ts';
import { scope } from '../tensor/scope.ts';
import { axesOf, createTrace, type RecordedTrace } from '../tensor/trace.ts';
import { checkIds, type ImagePrompt } from '../text/prompt.ts';
import { runClipVision } from '../vision/clip.ts';
import { patchCount, type ClipVisionConfig } from '../vision/config.ts';
import { prepareAnswer, readsQuestion, type Plan } from '../plan.ts';
import { answer } from '../story.ts';
import { formatShape, formatTable } from '../report/format.ts';
import {
  addAsk,
  addLoading,
  addMethod,
  askOf,
  readIds,
  readInteger,
  readMethod,
  type AskFlags,
  type LoadFlags,
  type MethodFlags,
} from './options.ts';
import { cutPrompt } from '../inputs.ts';
import { readClipConfig, readPicture, readQuestion, readWording } from '../node/inputs.ts';
import { loadWithBar } from './progress.ts';
import { clipFor, shippedModel } from '../node/shipped.ts';

interface TraceFlags extends LoadFlags, MethodFlags, AskFlags {
  model: string;
  out: string;
  inputs?: string;
  image?: string;
  ids?: number[];
  newTokens: number;
  pad: boolean;
}

export function addTraceCommand(program: Command): void {
  const command = program
    .command('trace')
    .description('run every layer and save every named tensor to one safetensors file')
    .option(
      '--model <dir>',
      'a Hugging Face folder of type LLaVA, CLIP, LLaMA, Mistral or Qwen2, or org/name in its cache',
      shippedModel(),
    )
    .requiredOption(
      '--out <file>',
      'the safetensors file to write; its metadata names the axes of each tensor',
    )
    .option('--image <file>', 'PNG, JPEG or WebP')
    .addOption(
      new Option('--ids <ids>', 'a prompt as token ids, e.g. 1,299,5, where a folder has no tokenizer')
        .argParser(readIds)
        .conflicts(['question', 'prompt', 'template']),
    )
    .addOption(
      new Option(
        '--inputs <file>',
        'safetensors with pixel_values [B,3,S,S] and input_ids [B,T] instead',
      ).conflicts(['image', 'question', 'prompt', 'template', 'ids']),
    )
    .option('--new-tokens <R>', 'generate exactly this many tokens, whatever they are', readInteger(0), 0)
    .option('--pad', "pad the picture to a square first, as LLaVA-1.5's own code does", false);
  addLoading(addMethod(addAsk(command))).action(run);
}

async function run(flags: TraceFlags): Promise<void> {
  await checkWritable(flags.out);
  // All that can be refused is read first: the weights of a large model take minutes.
  await startBackend(flags.backend);
  const inputs = await readInputs(await readCheckedConfig(flags.model), flags);
  const model = await loadWithBar(flags.model, { clip: inputs.clip, weightsAs: flags.weightsAs });
  const trace = createTrace();
  try {
    await traceModel(model, inputs, flags, trace);
    await saveTrace(trace, flags.out);
    const rows = [...trace.tensors].map(([key, x]) => [
      key,
      formatShape(axesOf(key) ?? '', x.shape),
      x.dtype,
    ]);
    console.log(formatTable([['tensor', 'shape', 'type'], ...rows]));
    console.log(`\n${rows.length} tensors in ${flags.out}`);
  } finally {
    inputs.pixels?.dispose();
    trace.dispose();
    model.dispose();
  }
}

interface Inputs {
  pixels?: tf.Tensor4D; // [B, S, S, 3]
  ids?: number[][]; // [B][T]
  /** Of a LLaVA: the ids cut at the picture, and how the picture is to be compressed. */
  llava?: { prompts: ImagePrompt[]; plan: Plan };
  /** The folder of a CLIP, where the method reads the question. */
  clip?: string;
}

async function readInputs(architecture: Architecture, flags: TraceFlags): Promise<Inputs> {
  const { method, options: methodOptions } = await readMethod(
    flags,
    architecture.kind === 'llava' ? architecture : undefined,
  );
  const fromFile = flags.inputs !== undefined && (await readInputFile(flags.inputs, architecture));
  const inputs = fromFile || {
    ids: architecture.kind === 'clip' ? undefined : await readPrompt(architecture, flags, method.adds),
    pixels: architecture.kind === 'decoder' ? undefined : await readPixels(architecture.vision, flags),
  };
  const { ids = [] } = inputs;
  const what = flags.inputs ?? (flags.ids ? '--ids' : '--question');
  if (architecture.kind === 'decoder') {
    for (const row of ids) checkIds(row, architecture.text.vocab_size, what);
    checkContext(architecture.text, ids[0].length, flags.newTokens);
  }
  if (architecture.kind !== 'llava') return inputs;
  if (architecture.image_grid_pinpoints) {
    throw new UserError(`${flags.model} is a LLaVA-NeXT, which vtc trace does not take yet; vtc run does`);
  }
  const clip = readsQuestion(method) ? clipFor(flags) : undefined;
  const question = clip === undefined ? undefined : await readWords(clip, method, flags.question);
  const more = method.adds?.length;
  const prompts = ids.map((row) => ({ ...cutPrompt(row, architecture, what, { more }), question }));
  const budget = parseBudget(flags.keep, patchCount(architecture.vision));
  const { newTokens: maxNewTokens, positions } = flags;
  const chosen = { method, methodOptions, budget, positions };
  return {
    ...inputs,
    llava: { prompts, plan: prepareAnswer(architecture, chosen, prompts, { maxNewTokens }) },
    clip,
  };
}

/** The question in tokens of CLIP's text tower. */
async function readWords(clip: string, method: Method, question: string | undefined): Promise<number[]> {
  if (question === undefined) throw new UserError(`${method.name} reads the question: give --question`);
  const { text } = await readClipConfig(clip);
  return (await readWording(clip, text))(question, '--question');
}

async function readPrompt(
  architecture: Exclude<Architecture, { kind: 'clip' }>,
  { model, ids, ...flags }: TraceFlags,
  adds: readonly string[] = [],
): Promise<number[][]> {
  if (ids) return [ids];
  const { question, prompt, template } = flags;
  if (question === undefined && prompt === undefined) {
    throw new UserError('a prompt is needed: give --question, --prompt, --ids or --inputs');
  }
  if (architecture.kind === 'llava') {
    const { before, after } = (await readQuestion(model, architecture, { ...askOf(flags), adds })).prompt;
    return [[...before, architecture.image_token_index, ...after]];
  }
  const tokenizer = await readTokenizer(model, architecture.text.bos_token_id);
  if (template !== undefined)
    throw new UserError(`${model} is a llama checkpoint: --template asks about pictures`);
  return [tokenizer.encode((question ?? prompt)!)];
}

async function readPixels(
  { image_size }: ClipVisionConfig,
  { model, image, pad }: TraceFlags,
): Promise<tf.Tensor4D> {
  if (image === undefined) throw new UserError('a picture is needed: give --image or --inputs');
  return (await readPicture(image, model, image_size, pad)).pixels;
}

/** Hugging Face's own inputs: `pixel_values` channels first, `input_ids`. */
async function readInputFile(path: string, architecture: Architecture): Promise<Inputs> {
  const file = await openSafetensors(path);
  try {
    const shapeOf = (name: string, axes: number): number[] => {
      const info = file.tensors.get(name);
      if (!info) throw new UserError(`${path} has no tensor ${name}`);
      if (info.shape.length !== axes || info.shape.includes(0)) {
        throw new UserError(`${path}: ${name} is [${info.shape.join(', ')}], should have ${axes} axes`);
      }
      return info.shape;
    };
    const inputs: Inputs = {};
    if (architecture.kind !== 'clip') {
      const [B, T] = shapeOf('input_ids', 2);
      const values = await file.readInt32('input_ids');
      inputs.ids = Array.from({ length: B }, (_, b) => [...values.subarray(b * T, (b + 1) * T)]);
    }
    if (architecture.kind !== 'decoder') {
      const shape = shapeOf('pixel_values', 4);
      const S = architecture.vision.image_size;
      if (shape.slice(1).join() !== [3, S, S].join()) {
        throw new UserError(`${path}: pixel_values is [${shape.join(', ')}], should be [B, 3, ${S}, ${S}]`);
      }
      if (inputs.ids && inputs.ids.length !== shape[0]) {
        throw new UserError(`${path}: pixel_values has ${shape[0]} items, input_ids ${inputs.ids.length}`);
      }
      const values = await file.readFloat32('pixel_values');
      const bad = values.find((value) => !Number.isFinite(value));
      if (bad !== undefined) throw new UserError(`${path}: pixel_values holds ${bad}`);
      inputs.pixels = tf.tidy(() =>
        tf.transpose(tf.tensor4d(values, shape as [number, number, number, number]), [0, 2, 3, 1]),
      );
    }
    return inputs;
  } finally {
    await file.close();
  }
}

async function traceModel(
  model: Model,
  { pixels, ids, llava }: Inputs,
  { newTokens: maxNewTokens }: TraceFlags,
  trace: RecordedTrace,
): Promise<void> {
  using own = scope();
  const { vision, decoder } = model;
  if (model.llava && llava && pixels) {
    await answer(model.llava, pixels, llava.prompts, llava.plan, { maxNewTokens, trace });
  } else if (vision && pixels) {
    runClipVision(vision, pixels, {}, trace);
  } else if (decoder && ids) {
    await generate(decoder, own(embedText(decoder, ids)), { maxNewTokens, trace });
  }
}

async function saveTrace({ tensors }: RecordedTrace, file: string): Promise<void> {
  const toWrite = new Map<string, TensorToWrite>();
  const metadata: Record<string, string> = {};
  for (const [key, tensor] of tensors) {
    const dtype = tensor.dtype === 'int32' ? 'I32' : 'F32';
    const data = (await tensor.data()) as Float32Array | Int32Array;
    if (data.some(Number.isNaN)) throw new UserError(`${key} holds NaN: the weights or the input hold NaN`);
    toWrite.set(key, { dtype, shape: tensor.shape, data });
    metadata[key] = axesOf(key) ?? '';
  }
  await writeSafetensors(file, toWrite, metadata);
}
