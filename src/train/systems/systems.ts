/** The trained systems of the field, by the names that `vtc train --system` knows. */
import { shippedModel } from '../../node/shipped.ts';
import { schemes } from '../llavolta.ts';
import { llavaRecipe, smokeRecipes } from '../recipe.ts';
import { trainLlava } from '../stages.ts';
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

export const systems: Record<string, TrainSystem> = {
  'llavolta-4stage': llavolta('4stage'),
  'llavolta-heavy': llavolta('heavy'),
  'llavolta-light': llavolta('light'),
};
