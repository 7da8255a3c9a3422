/** A system that was trained: it has weights of its own, and is a method once it is given them. */
import * as tf from '@tensorflow/tfjs-core';
import type { DecoderConfig } from '../../decoder/config.ts';
import { llamaTable, type LlamaWeights } from '../../decoder/weights.ts';
import { vector, type Tree } from '../../io/weight-table.ts';
import { projectorTable, type ProjectorConfig, type ProjectorWeights } from '../../projector.ts';
import type { ClipVisionConfig } from '../../vision/config.ts';
import type { Method, MethodOptions, Resources, Source, Stages, TrainedParts } from '../method.ts';

/** The model that a system was trained with, as far as its weights' shapes hang on it. */
export interface ModelConfigs {
  vision: ClipVisionConfig;
  projector: ProjectorConfig;
  text: DecoderConfig;
}

/** A method but for its weights: a page of its own in this room, and one line in the registry. */
export interface TrainedSystem<Weights extends object, Options extends MethodOptions> extends Omit<
  Method<Options>,
  'prepare' | 'share'
> {
  /** The shipped model that it was trained with, where that is not `llava`. */
  model?: string;
  /** The names of its weights, and their shapes for a model. */
  table(this: void, model: ModelConfigs): Tree<Weights>;
  /** {@link Method.prepare}, with its weights. */
  prepare(
    this: void,
    trained: Trained<Weights>,
    source: Source,
    budget: number,
    options: Options,
    resources: Resources,
  ): Stages;
}

/** A system's weights, and the model that they are for. */
export interface Trained<Weights extends object> {
  weights: Weights;
  model: ModelConfigs;
}

/** What a system between tower and projector is trained with: LLaVA's connector and decoder. */
export interface ConnectedWeights {
  projector: ProjectorWeights;
  decoder: LlamaWeights;
}

/** The names of {@link ConnectedWeights}. */
export const connectedTable = ({
  projector,
  text,
}: Omit<ModelConfigs, 'vision'>): Tree<ConnectedWeights> => ({
  projector: projectorTable(projector),
  decoder: llamaTable(text, 'language_model.model.', 'language_model.lm_head'),
});

/** The same in place of the model's own. */
export const broughtBy = ({ weights, model }: Trained<ConnectedWeights>): TrainedParts => ({
  projector: { config: model.projector, weights: weights.projector },
  decoder: { config: model.text, weights: weights.decoder },
});

/** What standardises the tower's channels, as measured before the training: mean and standard deviation, [D]. */
export interface ChannelScale {
  mean: tf.Tensor1D;
  deviation: tf.Tensor1D;
}

/** The names of a {@link ChannelScale}. */
export const scaleTable = (D: number): Tree<ChannelScale> => ({
  mean: vector('scale.mean', D),
  deviation: vector('scale.deviation', D),
});

/** (x − mean) / deviation. @param x [B, N, D] */
export const standardise = (x: tf.Tensor3D, { mean, deviation }: ChannelScale): tf.Tensor3D =>
  tf.tidy(() => tf.div(tf.sub(x, mean), deviation));

/** Any system, whatever its weights are. */
export type AnySystem = TrainedSystem<object, MethodOptions>;

/** The method that a system is with its weights. @param digest a short hash of them */
export const withWeights = <Weights extends object, Options extends MethodOptions>(
  { prepare, ...system }: TrainedSystem<Weights, Options>,
  trained: Trained<Weights>,
  digest?: string,
): Method<Options> => ({
  ...system,
  digest,
  prepare: (...asked) => prepare(trained, ...asked),
});
