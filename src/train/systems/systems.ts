/** The trained systems of the field, by the names that `vtc train --system` knows. */
import { dyvte } from '../../compress/trained/dyvte.ts';
import { perceptionGpt } from '../../compress/trained/perceptiongpt.ts';
import { setok } from '../../compress/trained/setok.ts';
import { vistog } from '../../compress/trained/vistog.ts';
import { shippedModel } from '../../node/shipped.ts';
import { schemes } from '../llavolta.ts';
import { llavaRecipe, smokeRecipes, videoLlmModRecipe, videoRecipe } from '../recipe.ts';
import { trainLlava } from '../stages.ts';
import { createDyvteStage, dyvteRecipe } from './dyvte.ts';
import { perceptionGptRecipe, trainPerceptionGpt } from './perceptiongpt.ts';
import { finish, trainSystem, type SystemRecipe } from './run.ts';
import { setokRecipe, trainSetok } from './setok.ts';
import { trainVideoFull, trainVideoLlmMod } from './videollm-mod.ts';
import { trainVistog, vistogRecipe } from './vistog.ts';
import type { TrainOptions } from '../train.ts';

/** What a user may change of a system's recipe. */
export interface SystemFlags {
  seed: number;
  /** Another number of steps. */
  steps?: number;
  /** For a moment, with a model too small to learn. */
  smoke: boolean;
}

/** Trains a system into `FOLDER/NAME`. */
export type TrainSystem = (flags: SystemFlags, options: TrainOptions) => Promise<void>;

const llavolta =
  (scheme: keyof typeof schemes): TrainSystem =>
  ({ seed, steps, smoke }, options) => {
    const recipe = smoke ? smokeRecipes.llava : llavaRecipe;
    const pace = { ...recipe.pace, ...(steps !== undefined && { steps }) };
    const staged = { ...recipe, seed, pace, compressor: schemes[scheme] };
    return trainLlava(staged, options, shippedModel('clip'), `llavolta-${scheme}`);
  };

/** A recipe with a user's flags. */
const withFlags = <R extends SystemRecipe>(recipe: R, smoke: Partial<R>, flags: SystemFlags): R => {
  const chosen = flags.smoke
    ? { ...recipe, ...smoke, pace: { ...recipe.pace, steps: 6, validateEvery: 3 } }
    : recipe;
  const steps = flags.steps ?? chosen.pace.steps;
  return { ...chosen, seed: flags.seed, pace: { ...chosen.pace, steps } };
};

/** Few pictures: a test that all parts run. */
const few = { pictures: 4, questions: 3, validation: 8 };
const fewClips = { framesABatch: 8, questions: 2, shortSteps: 2, standardise: 16, validation: 1 };

export const systems: Record<string, TrainSystem> = {
  'dyvte': (flags, options) => {
    const recipe = withFlags(dyvteRecipe, few, flags);
    return trainSystem(
      dyvte,
      recipe,
      async (model, dir) => finish(await createDyvteStage(model, dir, recipe), options),
      options,
    );
  },
  'vistog': (flags, options) => {
    const recipe = withFlags(vistogRecipe, { ...few, align: { ...vistogRecipe.align, steps: 4 } }, flags);
    return trainSystem(vistog, recipe, (model, dir) => trainVistog(model, dir, recipe, options), options);
  },
  'setok': (flags, options) => {
    const recipe = withFlags(setokRecipe, { ...few, align: { ...setokRecipe.align, steps: 4 } }, flags);
    return trainSystem(setok, recipe, (model, dir) => trainSetok(model, dir, recipe, options), options);
  },
  'video-full': (flags, options) => trainVideoFull(withFlags(videoRecipe, fewClips, flags), options),
  'videollm-mod': (flags, options) =>
    trainVideoLlmMod(withFlags(videoLlmModRecipe, fewClips, flags), options),
  'llavolta-4stage': llavolta('4stage'),
  'llavolta-heavy': llavolta('heavy'),
  'llavolta-light': llavolta('light'),
  'perceptiongpt': (flags, options) => {
    const recipe = withFlags(perceptionGptRecipe, { ...few, standardise: 8 }, flags);
    return trainSystem(
      perceptionGpt,
      recipe,
      (model, dir) => trainPerceptionGpt(model, dir, recipe, options),
      options,
    );
  },
};
