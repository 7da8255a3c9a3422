import path from 'node:path';
import type { Command } from 'commander';
import { parseBudget } from '../compress/budget.ts';
import { compareMethods, wasAnswered, wasRefused } from '../eval/run/compare.ts';
import { describeRow, drawComparison, writeComparisonPage } from '../eval/page/compare-report.ts';
import { parseVariants } from '../eval/run/variant.ts';
import { UserError } from '../errors.ts';
import { checkWritable, writeText } from '../node/files.ts';
import { encodePng } from '../node/decode.ts';
import { methodFinder } from '../node/method-file.ts';
import { readPicture, readQuestion } from '../node/inputs.ts';
import { showPixels } from '../image/show.ts';
import { startBackend } from '../backend/start.ts';
import { gridSide, patchCount } from '../vision/config.ts';
import { readsQuestion } from '../plan.ts';
import { formatTable } from '../report/format.ts';
import {
  addAsk,
  addLoading,
  addClip,
  addWeights,
  askOf,
  readInteger,
  type AskFlags,
  type LoadFlags,
} from './options.ts';
import { createBar, loadWithBar } from './progress.ts';
import { readLlavaConfig } from './ask.ts';
import { clipFor, shippedModel } from '../node/shipped.ts';

interface CompareFlags extends LoadFlags, AskFlags {
  image: string;
  model: string;
  clip?: string;
  keep: string;
  methods: string;
  weights?: string;
  newTokens: number;
  pad: boolean;
  out: string;
  html?: string;
}

export function addCompareCommand(program: Command): void {
  const command = program
    .command('compare')
    .description('all methods on one picture: what each keeps, what it answers, how sure, how fast')
    .requiredOption('--image <file>', 'PNG, JPEG or WebP')
    .option('--model <dir>', 'a Hugging Face folder of type LLaVA, or org/name in its cache', shippedModel())
    .option('--keep <U>', 'visual tokens to keep: a count, a ratio such as 0.25, or a percentage', '25%')
    .option(
      '--methods <list>',
      'with commas between, all or trained; options follow a colon: vtc-cls:layers=1',
      'all',
    )
    .option('--new-tokens <R>', 'at most this many tokens of answer', readInteger(1), 16)
    .option('--pad', "pad the picture to a square first, as LLaVA-1.5's own code does", false)
    .requiredOption('--out <file>', 'the contact sheet, a PNG')
    .option('--html <file>', 'the same as one page, pictures and all');
  addLoading(addWeights(addClip(addAsk(command)))).action(run);
}

async function run(flags: CompareFlags): Promise<void> {
  checkEnding('--out', flags.out, '.png');
  if (flags.html !== undefined) checkEnding('--html', flags.html, '.html');
  const files = [flags.out, ...(flags.html === undefined ? [] : [flags.html])];
  for (const file of files) await checkWritable(file);
  const backend = await startBackend(flags.backend);
  const config = await readLlavaConfig(flags.model);
  const { vision } = config;
  const [patches, grid] = [patchCount(vision), gridSide(vision)];
  const budget = parseBudget(flags.keep, patches);
  const find = await methodFinder(flags.methods.split(','), { config, weights: flags.weights });
  const variants = parseVariants(flags.methods, 1, find);
  const clip = variants.some(({ method }) => readsQuestion(method)) ? clipFor(flags) : undefined;
  const adds = [...new Set(variants.flatMap(({ method }) => method.adds ?? []))];
  const { prompt, tokenizer } = await readQuestion(flags.model, config, { ...askOf(flags), clip, adds });
  const loaded = await readPicture(flags.image, flags.model, vision.image_size, flags.pad);
  try {
    const model = await loadWithBar(flags.model, { clip, weightsAs: flags.weightsAs });
    const bar = createBar('comparing');
    try {
      const { pixels } = loaded;
      const asked = { pixels, prompt, budget, maxNewTokens: flags.newTokens, stopTokens: model.stopTokens };
      const rows = await compareMethods(model.llava!, asked, variants, (done) =>
        bar.update(done, variants.length + 1),
      );
      bar.stop();
      const page = {
        question: flags.question ?? flags.prompt!,
        facts: {
          model: flags.model,
          picture: flags.image,
          budget: `${budget} of ${patches} visual tokens`,
          backend: `${backend.name} on ${backend.device}`,
        },
        picture: showPixels(loaded.values, vision.image_size, loaded.config),
        patches: { grid, patch: vision.patch_size },
        rows,
        formatAnswer: ({ tokens }: { tokens: number[] }) => tokenizer.decode(tokens).trim(),
      };
      await encodePng(await drawComparison(page), flags.out);
      if (flags.html !== undefined) await writeText(flags.html, await writeComparisonPage(page));
      const done = rows.filter(wasAnswered);
      const lines = done.map((row) => {
        const { answer, probability, milliseconds, layers } = describeRow(row, page.formatAnswer);
        return [row.variant.name, answer, probability, milliseconds, layers];
      });
      console.log(formatTable([['method', 'answer', 'p', 'ms', 'tokens by layer'], ...lines], [2, 3]));
      for (const row of rows.filter(wasRefused))
        console.log(`not possible: ${row.variant.name}: ${row.reason}`);
      console.log(files.join('\n'));
    } finally {
      bar.stop();
      model.dispose();
    }
  } finally {
    loaded.pixels.dispose();
  }
}

function checkEnding(flag: string, file: string, ending: string): void {
  if (path.extname(file).toLowerCase() !== ending) {
    throw new UserError(
      `${flag} ${file}: what is written is ${ending.slice(1).toUpperCase()}, so name it ${ending}`,
    );
  }
}
