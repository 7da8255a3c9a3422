/** SeTok's merger (compress/trained/setok.ts), by LLaVA's two stages; the clusters are given. U is 25 and 13 in turn. Channels are
 * standardised: after 100 steps of stage 1 plain ones had .50 of the answers right, standardised ones .60. */
import type * as tf from '@tensorflow/tfjs-core';
import type { Llava } from '../../checkpoint/load.ts';
import { clusterByDensity } from '../../compress/density-peaks.ts';
import {
  distances,
  mergeClusters,
  placePatches,
  setok,
  type Merger,
  type SetokWeights,
} from '../../compress/trained/setok.ts';
import { createRandom } from '../../random.ts';
import { denseOf, matrixOf, meanOf } from '../../tensor/token-matrix.ts';
import { gridSide } from '../../vision/config.ts';
import { initialise, scaledIdentity, type InitialRules } from '../initialise.ts';
import type { TrainOptions } from '../train.ts';
import { trainConnector, type ConnectorBatch, type ConnectorRecipe } from './connector.ts';
import type { Outcome } from './run.ts';
import { vistogRecipe } from './vistog.ts';

export const setokRecipe: ConnectorRecipe = {
  ...vistogRecipe,
  align: { ...vistogRecipe.align, steps: 150 },
  pace: { ...vistogRecipe.pace, steps: 650 },
  standardise: 256,
};

const rules: InitialRules = [
  [/norm\d\.weight$/, { constant: 1 }],
  [/\.bias$/, { constant: 0 }],
  [/merger\.out\.weight$/, { values: scaledIdentity(1) }], // it begins as the mean, which the projector knows
];

/** Trains it. @param dir the model's folder */
export function trainSetok(
  model: Llava,
  dir: string,
  recipe: ConnectorRecipe,
  options: TrainOptions,
): Promise<Outcome<SetokWeights>> {
  const { merger } = setok.table(model.config);
  const own: { merger: Merger } = initialise({ merger }, createRandom(recipe.seed), rules);
  const grid = gridSide(model.config.vision);
  const makeTokens = ({ merger }: { merger: Merger }, { F, patches, U }: ConnectorBatch) => {
    const x = placePatches(F, patches, grid);
    return mergeClusters(merger, x, clusterMeans(x, setok.defaults.neighbours, U));
  };
  return trainConnector(setok.name, model, dir, recipe, own, makeTokens, options);
}

/** W of the clusters of each picture, [B, U, P]. */
function clusterMeans(x: tf.Tensor3D, neighbours: number, U: number): tf.Tensor3D {
  const [B, P] = x.shape;
  const d2 = distances(x).dataSync();
  const rows = Array.from({ length: B }, (_, b) => {
    const picture = Float64Array.from(d2.subarray(b * P * P, (b + 1) * P * P));
    return clusterByDensity(picture, neighbours, U).map(meanOf);
  });
  return denseOf(matrixOf(rows, P));
}
