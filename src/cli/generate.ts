import type { Command } from 'commander';
import * as tf from '@tensorflow/tfjs-core';
import { readCheckedConfig, readTokenizer } from '../node/checkpoint.ts';
import { checkContext, contextOf, decode, prefill } from '../decoder/generate.ts';
import { embedText } from '../decoder/splice.ts';
import { UserError } from '../errors.ts';
import { startBackend } from '../backend/start.ts';
import { checkIds } from '../text/prompt.ts';
import { createTextStream } from '../text/stream.ts';
import {
  addLoading,
  addSampling,
  readInteger,
  readSampling,
  type LoadFlags,
  type SamplingFlags,
} from './options.ts';
import { loadWithBar } from './progress.ts';

interface GenerateFlags extends LoadFlags, SamplingFlags {
  model: string;
  prompt: string;
  newTokens?: number;
}

/** Where a text ends when nothing else is said: at this many tokens, prompt and all. */
const defaultLength = 200;

export function addGenerateCommand(program: Command): void {
  const command = program
    .command('generate')
    .description('let the decoder alone write on after a prompt; the text streams to standard output')
    .requiredOption(
      '--model <dir>',
      'a Hugging Face folder of type LLaVA, LLaMA, Mistral or Qwen2, or org/name in its cache',
    )
    .option('--prompt <text>', 'how the text begins', '')
    .option(
      '--new-tokens <R>',
      `at most this many tokens more (default: up to ${defaultLength} in all)`,
      readInteger(1),
    );
  addLoading(addSampling(command)).action(run);
}

async function run(flags: GenerateFlags): Promise<void> {
  await startBackend(flags.backend);
  const architecture = await readCheckedConfig(flags.model);
  if (architecture.kind === 'clip')
    throw new UserError(`${flags.model} is a clip checkpoint: it has no decoder`);
  const { bos_token_id, vocab_size } = architecture.text;
  const tokenizer = await readTokenizer(flags.model, bos_token_id);
  const ids = tokenizer.encode(flags.prompt);
  if (ids.length === 0)
    throw new UserError('--prompt is empty and the model has no token that begins a text');
  checkIds(ids, vocab_size, '--prompt');
  checkContext(architecture.text, ids.length, flags.newTokens ?? 1);
  const room = Math.min(defaultLength, contextOf(architecture.text).positions) - ids.length;

  const model = await loadWithBar(flags.model, { weightsAs: flags.weightsAs });
  try {
    const decoder = model.decoder!; // as its config says
    const prompt = embedText(decoder, [ids]);
    const stream = createTextStream(tokenizer, ids);
    const options = {
      maxNewTokens: flags.newTokens ?? Math.max(room, 1),
      sampling: readSampling(flags),
      seed: flags.seed,
      stopTokens: model.stopTokens,
      onToken: (token: number) => process.stdout.write(stream.push(token)),
    };
    try {
      const session = await prefill(decoder, prompt, options);
      try {
        process.stdout.write(tokenizer.decode(ids));
        await decode(decoder, session, options);
        process.stdout.write(`${stream.end()}\n`);
      } finally {
        session.dispose();
      }
    } finally {
      tf.dispose([prompt.hidden, prompt.positions]);
    }
  } finally {
    model.dispose();
  }
}
