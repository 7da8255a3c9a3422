import type { Command } from 'commander';
import * as tf from '@tensorflow/tfjs-core';
import type { Model } from '../checkpoint/load.ts';
import { parseBudget } from '../compress/budget.ts';
import { decode, prefill } from '../decoder/generate.ts';
import { embedText } from '../decoder/splice.ts';
import { UserError } from '../errors.ts';
import { checkWritable } from '../files.ts';
import { openSafetensors, writeSafetensors, type TensorToWrite } from '../io/safetensors.ts';
import { startBackend } from '../tensor/backend.ts';
import { axesOf, createTrace, type RecordedTrace } from '../tensor/trace.ts';
import { checkIds } from '../text/prompt.ts';
import { readTokenizer } from '../text/tokenizer.ts';
import { runClipVision } from '../vision/clip.ts';
import { patchCount } from '../vision/config.ts';
import { runVlm } from '../vlm.ts';
import { formatShape, formatTable } from './format.ts';
import {
  addBackend,
  addMethod,
  readIds,
  readInteger,
  readMethod,
  type BackendOption,
  type MethodFlags,
} from './options.ts';
import { cutPrompt, readPicture, readQuestion } from './picture.ts';
import { loadWithBar } from './progress.ts';

interface TraceFlags extends BackendOption, MethodFlags {
  model: string;
  out: string;
  inputs?: string;
  image?: string;
  question?: string;
  ids?: number[];
  newTokens: number;
  pad: boolean;
}

export function addTraceCommand(program: Command): void {
  const command = program
    .command('trace')
    .description('run every layer and save every named tensor to one safetensors file')
    .requiredOption('--model <dir>', 'a Hugging Face folder of type LLaVA, CLIP or LLaMA')
    .requiredOption(
      '--out <file>',
      'the safetensors file to write; its metadata names the axes of each tensor',
    )
    .option('--image <file>', 'PNG, JPEG or WebP')
    .option('--question <text>', 'what to ask about it')
    .option('--ids <ids>', 'a prompt as token ids, e.g. 1,299,5, where a folder has no tokenizer', readIds)
    .option('--inputs <file>', 'safetensors with pixel_values [B,3,S,S] and input_ids [B,T] instead')
    .option('--new-tokens <R>', 'generate exactly this many tokens, whatever they are', readInteger(0), 0)
    .option('--pad', "pad the picture to a square first, as LLaVA-1.5's own code does", false);
  addBackend(addMethod(command)).action(run);
}

async function run(flags: TraceFlags): Promise<void> {
  await checkWritable(flags.out);
  await startBackend(flags.backend);
  const model = await loadWithBar(flags.model);
  const trace = createTrace();
  try {
    const inputs = await readInputs(model, flags);
    try {
      await traceModel(model, inputs, flags, trace);
    } finally {
      inputs.pixels?.dispose();
    }
    await saveTrace(trace, flags.out);
    const rows = [...trace.tensors].map(([key, x]) => [
      key,
      formatShape(axesOf(key) ?? '', x.shape),
      x.dtype,
    ]);
    console.log(formatTable([['tensor', 'shape', 'type'], ...rows]));
    console.log(`\n${rows.length} tensors in ${flags.out}`);
  } finally {
    trace.dispose();
    model.dispose();
  }
}

interface Inputs {
  pixels?: tf.Tensor4D; // [B, S, S, 3]
  ids?: number[][]; // [B][T]
}

async function readInputs(model: Model, flags: TraceFlags): Promise<Inputs> {
  const needsPixels = model.vision !== undefined;
  const needsIds = model.decoder !== undefined;
  if (flags.inputs !== undefined) return readInputFile(flags.inputs, model);
  const inputs: Inputs = {};
  if (needsIds) {
    if (flags.ids) inputs.ids = [flags.ids];
    else if (flags.question === undefined) {
      throw new UserError('a prompt is needed: give --question, --ids or --inputs');
    } else if (model.llava) {
      const { before, after } = (await readQuestion(model.dir, model.llava, flags.question)).prompt;
      inputs.ids = [[...before, model.llava.config.image_token_index, ...after]];
    } else {
      const tokenizer = await readTokenizer(model.dir, model.decoder!.config.bos_token_id);
      inputs.ids = [tokenizer.encode(flags.question)];
    }
  }
  if (needsPixels) {
    if (flags.image === undefined) throw new UserError('a picture is needed: give --image or --inputs');
    const side = model.vision!.config.image_size;
    inputs.pixels = (await readPicture(flags.image, model.dir, side, flags.pad)).pixels;
  }
  return inputs;
}

/** Hugging Face's own inputs: `pixel_values` channels first, `input_ids`. */
async function readInputFile(path: string, model: Model): Promise<Inputs> {
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
    if (model.decoder) {
      const [B, T] = shapeOf('input_ids', 2);
      const values = await file.readInt32('input_ids');
      inputs.ids = Array.from({ length: B }, (_, b) => [...values.subarray(b * T, (b + 1) * T)]);
    }
    if (model.vision) {
      const shape = shapeOf('pixel_values', 4);
      const S = model.vision.config.image_size;
      if (shape.slice(1).join() !== [3, S, S].join()) {
        throw new UserError(`${path}: pixel_values is [${shape.join(', ')}], should be [B, 3, ${S}, ${S}]`);
      }
      if (inputs.ids && inputs.ids.length !== shape[0]) {
        throw new UserError(`${path}: pixel_values has ${shape[0]} items, input_ids ${inputs.ids.length}`);
      }
      const values = await file.readFloat32('pixel_values');
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
  { pixels, ids }: Inputs,
  flags: TraceFlags,
  trace: RecordedTrace,
): Promise<void> {
  const { llava, vision, decoder } = model;
  if (llava && pixels && ids) {
    const { method, options } = readMethod(flags);
    const prompts = ids.map((row) => cutPrompt(row, llava, flags.inputs ?? '--ids'));
    if (new Set(prompts.map(({ before, after }) => before.length + after.length)).size > 1) {
      throw new UserError(`${flags.inputs}: the prompts differ in length without their picture`);
    }
    await runVlm(
      llava,
      { pixels, prompts },
      {
        method,
        methodOptions: options,
        budget: parseBudget(flags.keep, patchCount(llava.config.vision)),
        positions: flags.positions,
        maxNewTokens: flags.newTokens,
        trace,
      },
    );
  } else if (vision && pixels) {
    runClipVision(vision, pixels, {}, trace);
  } else if (decoder && ids) {
    for (const row of ids) checkIds(row, decoder.config.vocab_size, flags.inputs ?? '--ids');
    const prompt = embedText(decoder, ids);
    try {
      const session = await prefill(decoder, prompt, { maxNewTokens: flags.newTokens, trace });
      try {
        const tokens = await decode(decoder, session, { maxNewTokens: flags.newTokens });
        if (flags.newTokens > 0) {
          tf.tidy(() => trace.record('generate.tokens', tf.tensor2d(tokens, undefined, 'int32')));
        }
      } finally {
        session.dispose();
      }
    } finally {
      tf.dispose([prompt.hidden, prompt.positions]);
    }
  }
}

async function saveTrace({ tensors }: RecordedTrace, file: string): Promise<void> {
  const toWrite = new Map<string, TensorToWrite>();
  const metadata: Record<string, string> = {};
  for (const [key, tensor] of tensors) {
    const dtype = tensor.dtype === 'int32' ? 'I32' : 'F32';
    toWrite.set(key, {
      dtype,
      shape: tensor.shape,
      data: (await tensor.data()) as Float32Array | Int32Array,
    });
    metadata[key] = axesOf(key) ?? '';
  }
  await writeSafetensors(file, toWrite, metadata);
}
