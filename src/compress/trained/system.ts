/** A system that was trained: it has weights of its own, and is a method once it is given them. */
import type { DecoderConfig } from '../../decoder/config.ts';
import type { Tree } from '../../io/weight-table.ts';
import type { ProjectorConfig } from '../../projector.ts';
import type { ClipVisionConfig } from '../../vision/config.ts';
import type { Method, MethodOptions, Resources, Source, Stages } from '../method.ts';

/** The model that a system was trained with, as far as its weights' shapes hang on it. */
export interface ModelConfigs {
  vision: ClipVisionConfig;
  projector: ProjectorConfig;
  text: DecoderConfig;
}

/** A method but for its weights: a page of its own in this room, and one line in the registry. */
export interface TrainedSystem<Weights extends object, Options extends MethodOptions> extends Omit<
  Method<Options>,
  'prepare'
> {
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
