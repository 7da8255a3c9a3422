import { Presets, SingleBar } from 'cli-progress';
import { Option, type Command } from 'commander';
import { UserError } from '../errors.ts';
import { startBackend } from '../backend/start.ts';
import { clipRecipe, llavaRecipe, smokeRecipes, type ClipRecipe, type LlavaRecipe } from '../train/recipe.ts';
import { trainClip, trainLlava } from '../train/stages.ts';
import { systems } from '../train/systems/systems.ts';
import type { Progress } from '../train/train.ts';
import { namings, type Naming } from '../world/caption.ts';
import { side } from '../world/scene.ts';
import { readInteger } from './options.ts';

interface TrainFlags {
  out: string;
  stage: 'clip' | 'llava' | 'both';
  system?: string;
  steps?: number;
  seed: number;
  captions: Naming;
  fixed?: true;
  tower?: string;
  smoke?: true;
  fresh?: true;
  checkpointEvery: number;
  backend: string;
}

/** Seconds between two lines, where no one watches a bar. */
const lineEvery = 30;

export function addTrainCommand(program: Command): void {
  program
    .command('train')
    .description('train the small CLIP and the small LLaVA on drawn scenes; a run that was killed goes on')
    .option(
      '--out <dir>',
      'checkpoints, metrics and curves; the models in clip/ and llava/ there',
      'out/train',
    )
    .addOption(
      new Option('--stage <name>', 'CLIP first; LLaVA looks through it')
        .choices(['clip', 'llava', 'both'])
        .default('both'),
    )
    .addOption(
      new Option(
        '--system <name>',
        'a system of the field instead, on the models that come with this program; into a folder of its name',
      )
        .choices(Object.keys(systems))
        .conflicts(['stage', 'captions', 'fixed', 'tower']),
    )
    .option('--steps <n>', 'another number of steps, for each stage', readInteger(1))
    .option('--seed <n>', 'seed of the first weights and of the data', readInteger(0), 0)
    .addOption(
      new Option('--captions <which>', 'the objects that captions name')
        .choices(Object.keys(namings))
        .default('all'),
    )
    .option(
      '--fixed',
      'LLaVA always sees 100 tokens, as LLaVA-1.5 always sees 576; by default pictures vary, from 36',
    )
    .option(
      '--tower <dir>',
      'with --stage llava: the CLIP or LLaVA through whose vision tower it looks (default: clip in --out)',
    )
    .option('--smoke', 'both stages with a model too small to learn: a test that all parts run')
    .option('--fresh', 'begin again, whatever checkpoint is there')
    .option('--checkpoint-every <seconds>', 'what a kill can cost', readInteger(0), 120)
    .option('--backend <name>', 'only tensorflow has what training needs', 'tensorflow')
    .action(run);
}

async function run(flags: TrainFlags): Promise<void> {
  if (flags.backend !== 'tensorflow') {
    throw new UserError(
      `training needs the tensorflow backend, not ${flags.backend}; npm run setup:tensorflow builds it`,
    );
  }
  if (flags.tower !== undefined && flags.stage !== 'llava') {
    throw new UserError(
      `--tower ${flags.tower}: --stage ${flags.stage} trains a tower; it goes with --stage llava`,
    );
  }
  await startBackend('tensorflow');
  const pace = flags.steps === undefined ? {} : { steps: flags.steps };
  const withFlags = <R extends ClipRecipe | LlavaRecipe>(recipe: R): R => ({
    ...recipe,
    seed: flags.seed,
    pace: { ...recipe.pace, ...pace },
  });
  const recipes = flags.smoke ? smokeRecipes : { clip: clipRecipe, llava: llavaRecipe };
  const display = createDisplay();
  const { out: folder, fresh, checkpointEvery } = flags;
  const options = { folder, fresh, checkpointEvery, onProgress: display.update };
  try {
    if (flags.system !== undefined) {
      const { seed, steps, smoke = false } = flags;
      return await systems[flags.system]({ seed, steps, smoke }, options);
    }
    if (flags.stage !== 'llava')
      await trainClip(withFlags({ ...recipes.clip, captions: flags.captions }), options);
    const frames = flags.fixed ? [side] : recipes.llava.frames;
    if (flags.stage !== 'clip')
      await trainLlava(withFlags({ ...recipes.llava, frames }), options, flags.tower);
  } finally {
    display.stop();
  }
}

/** A bar on a terminal; elsewhere a line every {@link lineEvery} seconds. Validation is told in any case. */
function createDisplay() {
  let bar: SingleBar | undefined;
  let told = -Infinity;
  const say = (line: string) => process.stderr.write(`${line}\n`);
  return {
    update: (progress: Progress) => {
      const { stage, step, steps, loss, rate, secondsPerStep, secondsLeft, validation } = progress;
      const pace = `${secondsPerStep.toFixed(2)} s a step, ${formatMinutes(secondsLeft)} left`;
      const shown = { loss: loss.toFixed(3), rate: rate.toExponential(1), pace };
      if (process.stderr.isTTY) {
        bar ??= startBar(stage, steps);
        bar.update(step, shown);
        if (step === steps || validation) {
          bar.stop();
          bar = undefined;
        }
      } else if (performance.now() - told > 1000 * lineEvery || step === steps) {
        told = performance.now();
        say(`${stage} ${step}/${steps}  loss ${shown.loss}  lr ${shown.rate}  ${pace}`);
      }
      if (validation) say(`${stage} ${step}/${steps}  ${formatFigures(validation)}`);
    },
    stop: () => bar?.stop(),
  };
}

function startBar(stage: string, steps: number): SingleBar {
  const format = `${stage} {bar} {value}/{total}  loss {loss}  lr {rate}  {pace}`;
  const bar = new SingleBar(
    { format, hideCursor: true, clearOnComplete: true, stream: process.stderr },
    Presets.shades_classic,
  );
  bar.start(steps, 0, { loss: '', rate: '', pace: '' });
  return bar;
}

const formatMinutes = (seconds: number): string =>
  seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;

const formatFigures = (figures: Record<string, number>): string =>
  Object.entries(figures)
    .map(([name, value]) => `${name} ${value.toFixed(3)}`)
    .join('  ');
