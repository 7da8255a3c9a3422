import { Option, type Command } from 'commander';
import { startBackend } from '../backend/start.ts';
import { parseBudget } from '../compress/budget.ts';
import { clipViews, scoreClips, type ClipResult, type ClipView } from '../eval/run/clips.ts';
import { parseVariants } from '../eval/run/variant.ts';
import { methodFinder } from '../node/method-file.ts';
import { readAsker } from '../node/inputs.ts';
import { readPreprocessConfig } from '../node/checkpoint.ts';
import { shippedModel } from '../node/shipped.ts';
import { markdownTable } from '../report/markdown.ts';
import { patchCount } from '../vision/config.ts';
import { splits, type Split } from '../world/split.ts';
import { readLlavaConfig } from './ask.ts';
import { formatBytes, formatCount } from '../report/format.ts';
import { addLoading, addWeights, readInteger, type LoadFlags } from './options.ts';
import { createBar, loadWithBar } from './progress.ts';

interface ClipsFlags extends LoadFlags {
  model: string;
  methods: string;
  weights?: string;
  keep: string;
  split: Split;
  count: number;
  view: ClipView;
  json: boolean;
}

export function addClipsCommand(program: Command): void {
  const command = program
    .command('clips')
    .description('ask a video model about drawn clips: how many answers are right, and what they cost')
    .option(
      '--model <dir>',
      'a Hugging Face folder of type LLaVA, or org/name in its cache',
      shippedModel('video'),
    )
    .option(
      '--methods <list>',
      'with commas between; options follow a colon: videollm-mod:gate=one',
      'videollm-mod',
    )
    .option(
      '--keep <U>',
      'of each frame’s visual tokens: a count, a ratio such as 0.25, or a percentage',
      '25%',
    )
    .addOption(
      new Option('--split <name>', 'which clips; no two splits share one').choices(splits).default('test'),
    )
    .option('--count <n>', 'number of clips', readInteger(1), 350)
    .addOption(
      new Option('--view <what>', 'all frames, the middle one alone, or all grey')
        .choices(clipViews)
        .default('frames'),
    )
    .option('--json', 'print one JSON object instead of a table', false);
  addLoading(addWeights(command)).action(run);
}

async function run({ model: dir, methods, weights, keep, split, count, view, ...flags }: ClipsFlags) {
  const config = await readLlavaConfig(dir);
  const backend = await startBackend(flags.backend); // weights of systems are loaded into it
  const find = await methodFinder(methods.split(','), { config, weights });
  const variants = parseVariants(methods, 1, find);
  const budget = parseBudget(keep, patchCount(config.vision));
  const preprocessing = await readPreprocessConfig(dir, config.vision.image_size);
  const model = await loadWithBar(dir, { weightsAs: flags.weightsAs });
  const results: { name: string; result: ClipResult }[] = [];
  const askers = new Map<number, ReturnType<typeof readAsker>>();
  const askerFor = (pictures: number) => {
    if (!askers.has(pictures)) askers.set(pictures, readAsker(dir, config, { pictures }));
    return askers.get(pictures)!;
  };
  try {
    for (const { name, ...variant } of variants) {
      const bar = createBar(name);
      const exam = { model, askerFor, preprocessing, chosen: { ...variant, budget }, split, count, view };
      try {
        const result = await scoreClips({ ...exam, onClips: (done) => bar.update(done, 6 * count) });
        results.push({ name, result });
      } finally {
        bar.stop();
      }
    }
  } finally {
    model.dispose();
  }
  const told = { model: dir, split, clips: count, view, budget, backend: backend.name };
  if (flags.json) {
    const rows = results.map(({ name, result }) => ({
      method: name,
      ...result,
      byType: Object.fromEntries(result.byType),
    }));
    console.log(JSON.stringify({ ...told, results: rows }, null, 2));
  } else {
    console.log(
      `${count} clips of the ${split} split, ${results[0].result.all.n} questions, ${view}, ${dir}\n`,
    );
    console.log(tableOf(results));
  }
}

function tableOf(results: readonly { name: string; result: ClipResult }[]): string {
  const types = [...results[0].result.byType.keys()];
  const percent = (share: number) => (100 * share).toFixed(1);
  const rows = results.map(({ name, result: { all, byType, prefillFlops, cacheBytes, milliseconds } }) => [
    name,
    `${percent(all.accuracy)} (${percent(all.low)} to ${percent(all.high)})`,
    ...types.map((type) => percent(byType.get(type)!.accuracy)),
    `${formatCount(prefillFlops)}FLOPs`,
    formatBytes(cacheBytes),
    `${milliseconds.toFixed(1)} ms`,
  ]);
  return markdownTable(['method', 'right, %', ...types, 'prompt', 'KV cache', 'time'], rows, 1);
}
