import type { Command } from 'commander';
import { convertCheckpoint } from '../node/convert.ts';
import { locateModel } from '../node/hub-cache.ts';
import { formatBytes } from '../report/format.ts';
import { createBar } from './progress.ts';

interface ConvertFlags {
  to: string;
  clip?: string;
  tokenizer?: string;
}

export function addConvertCommand(program: Command): void {
  program
    .command('convert')
    .description(
      "write a folder as safetensors in Hugging Face's layout: PyTorch's pytorch_model.bin, of which nothing is run, or the layout of the LLaVA authors",
    )
    .argument('<dir>', 'the folder, or org/name in Hugging Face’s cache')
    .requiredOption('--to <dir>', 'the folder to make')
    .option('--clip <dir>', "of the authors' layout: the CLIP that its vision tower is, or org/name")
    .option('--tokenizer <dir>', 'a folder, or org/name, whose tokenizer.json fits, where there is none')
    .action(convert);
}

async function convert(dir: string, { to, clip, tokenizer }: ConvertFlags): Promise<void> {
  const bar = createBar(`converting ${dir}`, formatBytes);
  const located = await locateModel(dir);
  const options = {
    clip, // --clip org/name is located for every command
    tokenizer: tokenizer === undefined ? undefined : await locateModel(tokenizer),
    onProgress: bar.update,
  };
  try {
    const { tensors, bytes, lacks } = await convertCheckpoint(located, to, options);
    bar.stop();
    console.log(`${to}: ${tensors} tensors, ${formatBytes(bytes)}`);
    if (lacks) console.log(lacks);
  } finally {
    bar.stop();
  }
}
