/**
 * LLaVA's two stages, for a system that makes the picture's tokens between the tower and the projector. It starts from the
 * shipped LLaVA, as the papers start from a language model that is trained:
 *
 *     stage 1, alignment     the system's own layers and the projector learn to speak to a decoder that stays as it is
 *     stage 2, instruction   they and the decoder learn together
 *
 * The tower stays as it is. Where what the system makes is of standardised channels, the projector that goes on from the
 * model's is the one that does to those what that did to plain ones. Steps take the system's numbers of tokens in turn.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Llava } from '../../checkpoint/load.ts';
import type { ChannelScale, ConnectedWeights } from '../../compress/trained/system.ts';
import { project } from '../../projector.ts';
import { createRandom, type Random } from '../../random.ts';
import { runClipVision } from '../../vision/clip.ts';
import { hashText } from '../../world/split.ts';
import { measureFeatures, readFeatures, standardise, unfoldScale } from '../features.ts';
import {
  createScenes,
  firstIndex,
  measureAnswers,
  openLlavaData,
  type Asked,
  type LlavaData,
} from '../llava-data.ts';
import { crossEntropy } from '../losses.ts';
import { copyTensors, touchAll } from '../parameters.ts';
import { openPacked, readPacked, runPacked } from '../packed-decoder.ts';
import type { Prompted } from '../pack.ts';
import type { LlavaRecipe } from '../recipe.ts';
import type { Pace, TrainOptions } from '../train.ts';
import { dataSeed, finish, type Outcome, type SystemRecipe, type SystemStage } from './run.ts';

/** What a system makes tokens of. */
export interface ConnectorBatch extends Prompted {
  /** The input of each of the tower's layers up to F, all its tokens: [B, N, D] by layer. */
  hidden: Map<number, tf.Tensor3D>;
  /** F of the patches that are no padding, standardised [B, P', D], and where they stand in the grid. */
  F: tf.Tensor3D;
  patches: number[];
  /** How many tokens. */
  U: number;
  /** Of a step of training; where answers are measured there is no noise. */
  noise?: Random;
}

/** A system's recipe. */
export interface ConnectorRecipe
  extends SystemRecipe, Pick<LlavaRecipe, 'pictures' | 'questions' | 'frames' | 'validation'> {
  /** Stage 1; `pace` is stage 2's. */
  align: Pace;
  /** Pictures by which the tower's channels are standardised; none: they stay as they are. */
  standardise: number;
  /** Numbers of tokens. */
  counts: readonly number[];
}

/** @returns F' [B, U, D]; inside a tidy */
export type MakeTokens<Own> = (own: Own, batch: ConnectorBatch, scale: ChannelScale) => tf.Tensor3D;

/**
 * Both stages.
 * @param own the first weights of the system's own layers; freed
 */
export async function trainConnector<Own extends object>(
  name: string,
  { config, vision, projector, decoder }: Llava,
  dir: string,
  recipe: ConnectorRecipe,
  own: Own,
  makeTokens: MakeTokens<Own>,
  options: TrainOptions,
): Promise<Outcome<Own & ConnectedWeights & { scale: ChannelScale }>> {
  const { hidden_size: D } = config.vision;
  const seed = dataSeed(recipe.seed);
  const data = await openLlavaData(dir, config, { ...recipe, seed });
  const scale = recipe.standardise
    ? measureFeatures(
        createScenes('train', firstIndex(seed), recipe.standardise),
        recipe.pictures,
        (scenes) => tf.tidy(() => readFeatures(vision, data.pixels(scenes), config)),
      )
    : { mean: tf.zeros<tf.Rank.R1>([D]), deviation: tf.ones<tf.Rank.R1>([D]) };
  const look = (asked: Asked, U: number, noise?: Random): ConnectorBatch => {
    const patches = data.patches(asked.scenes);
    const [last] = config.vision_feature_layer;
    const layers = [...Array(last + 1).keys()];
    const { hidden } = runClipVision(vision, data.pixels(asked.scenes), { hidden: layers });
    const all = tf.gather(hidden.get(last)!, patches.map((p) => 1 + p), 1); // prettier-ignore
    const F = standardise(all as tf.Tensor3D, scale);
    return { hidden, F, patches, U, noise, ...data.prompt(asked, U) };
  };
  const answer = (weights: Own & ConnectedWeights, batch: ConnectorBatch) => {
    const llama = { config: config.text, weights: weights.decoder };
    const tokens = makeTokens(weights, batch, scale);
    const visual = project({ config: config.projector, weights: weights.projector }, tokens);
    return readPacked(llama, runPacked(llama, openPacked(llama, visual, batch), 0, Infinity), batch.packed);
  };
  /** @param from the first of the data's steps */
  const stageOf = <Learned extends object>(
    stage: string,
    pace: Pace,
    from: number,
    weights: Learned,
    whole: (learned: Learned) => Own & ConnectedWeights,
  ): SystemStage<Learned, ConnectorBatch> => ({
    name: stage,
    pace,
    recipe: JSON.stringify({ ...recipe, pace: undefined }),
    weights,
    draw(step) {
      const noise = createRandom(hashText(`noise ${recipe.seed} ${from + step}`));
      return look(data.step(from + step), recipe.counts[step % recipe.counts.length], noise);
    },
    tell: (step) => data.tell(from + step),
    loss: (learned, batch) =>
      tf.tidy(() => touchAll(crossEntropy(answer(whole(learned), batch), batch.packed.targets), learned)),
    validate: (learned) => measureCounts(data, recipe.counts, look, (batch) => answer(whole(learned), batch)),
  });

  const begun = { ...own, projector: copyTensors(unfoldScale(projector.weights, scale)) };
  const aligning = stageOf(`${name}-align`, recipe.align, 0, begun, (learned) => ({
    ...learned,
    decoder: decoder.weights,
  }));
  const aligned = await finish(aligning, options);
  const all = { ...aligned.weights, decoder: copyTensors(decoder.weights) };
  const { stage, weights } = await finish(
    stageOf(name, recipe.pace, recipe.align.steps, all, (learned) => learned),
    options,
  );
  return { stage, weights: { ...weights, scale } };
}

/** The share of right answers on the validation split, with each number of tokens. */
function measureCounts(
  data: LlavaData,
  counts: readonly number[],
  look: (asked: Asked, U: number) => ConnectorBatch,
  answer: (batch: ConnectorBatch) => tf.Tensor2D,
): Record<string, number> {
  const measured = counts.map((U) => {
    const { accuracy } = measureAnswers(data.validation(), (asked) => {
      const batch = look(asked, U);
      return { ...batch, logits: answer(batch) };
    });
    return [`tokens ${U}`, accuracy] as const;
  });
  const mean = measured.reduce((sum, [, accuracy]) => sum + accuracy, 0) / measured.length;
  return { accuracy: mean, ...Object.fromEntries(measured) };
}
