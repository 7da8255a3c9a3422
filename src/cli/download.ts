import type { Command } from 'commander';
import { downloadModel, type Downloaded } from '../node/hub-download.ts';
import { formatBytes } from '../report/format.ts';
import { createBar } from './progress.ts';

export function addDownloadCommand(program: Command): void {
  program
    .command('download')
    .description(
      'fetch a model of the Hugging Face Hub into its cache, where --model org/name finds it; goes on where it was broken off',
    )
    .argument('<org/name>', 'the model, as the hub calls it; org/name@revision for one revision of it')
    .option('--revision <name>', 'a branch, a tag or a commit (default: main)')
    .option('--to <dir>', 'a folder to make in place of the cache')
    .addHelpText(
      'after',
      '\nFetched are safetensors, JSON, chat templates and the tokenizer; each file is held against its hash.\n' +
        'Environment: HF_TOKEN for gated models, HF_ENDPOINT for a mirror, HF_HUB_CACHE or HF_HOME for the cache,\n' +
        'HF_HUB_DOWNLOAD_TIMEOUT seconds (10) for a server that says nothing, HF_HUB_OFFLINE=1 to ask nobody.',
    )
    .action(download);
}

async function download(name: string, flags: { revision?: string; to?: string }): Promise<void> {
  const bar = createBar(`downloading ${name}`, formatBytes);
  let done: Downloaded;
  try {
    done = await downloadModel(name, { ...flags, onProgress: bar.update });
  } finally {
    bar.stop();
  }
  const { folder, commit, files, bytes, fetched } = done;
  const came = fetched === 0 ? 'all there already' : `${formatBytes(fetched)} fetched`;
  console.log(`${name} at ${commit.slice(0, 12)}: ${files} files, ${formatBytes(bytes)}, ${came}`);
  console.log(folder);
}
