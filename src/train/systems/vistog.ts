/**
 * VisToG's training (compress/trained/vistog.ts): LLaVA's two stages, the choice of groups made differentiable.
 *
 *     y  = softmax over U of (z + G) / τ          G = −log(−log u), u uniform in (0, 1);  τ = 1
 *     A  = one-hot of argmax y                    forward
 *     ∂A = ∂y                                     backward: straight-through
 *
 * Channels stay as they are: standardised ones were learned more slowly in stage 1 (.47 of the answers right after 150 steps, where
 * plain ones had .52 after 100 and .64 after 200). n, by which W = A / n is divided, is taken as given: only A has a derivative. U is 25 and 13 in turn.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Llava } from '../../checkpoint/load.ts';
import {
  compareGroups,
  groupCounts,
  mergeGroups,
  vistog,
  type GroupCount,
  type VistogWeights,
} from '../../compress/trained/vistog.ts';
import { standardise, type ChannelScale } from '../../compress/trained/system.ts';
import { createRandom } from '../../random.ts';
import { runBeside } from '../../vision/beside.ts';
import { initialise, type InitialRules } from '../initialise.ts';
import { llavaRecipe } from '../recipe.ts';
import type { TrainOptions } from '../train.ts';
import { trainConnector, type ConnectorBatch, type ConnectorRecipe } from './connector.ts';
import type { Outcome } from './run.ts';

export const vistogRecipe: ConnectorRecipe = {
  seed: 0,
  align: { ...llavaRecipe.pace, steps: 200, peak: 1.5e-3, warmUp: 20 },
  pace: { ...llavaRecipe.pace, steps: 700, peak: 1e-3, warmUp: 30 },
  standardise: 0,
  counts: groupCounts.toReversed(),
  pictures: 32,
  questions: 8,
  frames: llavaRecipe.frames,
  validation: 128,
};

type Own = Pick<VistogWeights, 'tokens' | 'grouping'>;

const rules: InitialRules = [
  [/norm_\w+\.weight$/, { constant: 1 }],
  [/\.bias$/, { constant: 0 }],
  [/^tokens/, { std: 1 }],
];

/** Trains it. @param dir the model's folder */
export function trainVistog(
  model: Llava,
  dir: string,
  recipe: ConnectorRecipe,
  options: TrainOptions,
): Promise<Outcome<VistogWeights>> {
  const { tokens, grouping } = vistog.table(model.config);
  const own: Own = initialise({ tokens, grouping }, createRandom(recipe.seed), rules);
  const [last] = model.config.vision_feature_layer;
  const makeTokens = (
    { tokens, grouping }: Own,
    { hidden, F, U, noise }: ConnectorBatch,
    scale: ChannelScale,
  ) => {
    const g = standardise(runBeside(model.vision, hidden, tokens[U as GroupCount], last), scale); // [B, U, D]
    const z = compareGroups(grouping, g, F);
    return mergeGroups(grouping, g, F, assignStraight(noise ? tf.add(z, gumbel(z.shape, noise)) : z));
  };
  return trainConnector(vistog.name, model, dir, recipe, own, makeTokens, options);
}

/** G, of a shape. */
const gumbel = (shape: number[], random: () => number): tf.Tensor =>
  tf.tensor(
    Float32Array.from({ length: tf.util.sizeFromShape(shape) }, () => -Math.log(-Math.log(random() || 0.5))),
    shape,
  );

/**
 * W of the likeliest groups, with the derivative of their softmax.
 * @param z [B, U, P]
 * @returns [B, U, P]
 */
export function assignStraight(z: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => {
    const U = z.shape[1];
    const y = tf.softmax(tf.transpose(z, [0, 2, 1])); // [B, P, U]
    const divided = tf.customGrad((y, save) => {
      const A = tf.oneHot(tf.cast(tf.argMax(y as tf.Tensor, 2), 'int32'), U);
      const n = tf.maximum(tf.sum(A, 1, true), 1); // [B, 1, U]
      (save as tf.GradSaveFunc)([n]);
      return { value: tf.div(A, n), gradFunc: (dy: tf.Tensor, [n]: tf.Tensor[]) => tf.div(dy, n) };
    });
    return tf.transpose(divided(y), [0, 2, 1]) as tf.Tensor3D;
  });
}
