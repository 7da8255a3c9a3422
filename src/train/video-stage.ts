/**
 * A LLaVA learns to read clips: from a trained one's projector and decoder, which know single pictures, behind the same frozen
 * tower. All of each frame's tokens go through all layers, or in some layers only a few of them (VideoLLM-MoD).
 *
 *     loss = CE(answers) + λ·(CE(telling, where something has happened) + CE(telling, elsewhere))
 *
 * The second is the stream loss of VideoLLM-online, on which VideoLLM-MoD builds, made denser. There each frame's last token says
 * what there is to say, or its end; here each token of a frame does, one word at most, and it does so before the last layer, so
 * that the questions can read there what it has found.
 *
 * The first steps show clips of two or three frames: what happens between two is learned from two. From whole clips at once
 * .38 of the answers were right after 250 steps.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { LlavaConfig } from '../checkpoint/architecture.ts';
import type { Llava } from '../checkpoint/load.ts';
import { poolCells, videoLlmMod, type ScorerWeights } from '../compress/trained/videollm-mod.ts';
import type { LlamaWeights } from '../decoder/weights.ts';
import type { Loaded } from '../io/weight-table.ts';
import { describeSource } from '../plan.ts';
import { project, type ProjectorWeights } from '../projector.ts';
import { createRandom, drawNormal } from '../random.ts';
import { asFloat32 } from '../tensor/half.ts';
import { applyMatrix, matrixOf } from '../tensor/token-matrix.ts';
import { frameScenes, type Clip } from '../world/clip.ts';
import type { ClipQuestion } from '../world/clip-questions.ts';
import { measureFeatures, readFeatures, standardise, unfoldScale, type FeatureScale } from './features.ts';
import { initialise } from './initialise.ts';
import { createScenes, firstIndex, measureAnswers } from './llava-data.ts';
import { crossEntropy } from './losses.ts';
import type { Prompted } from './pack.ts';
import type { Told } from './provenance.ts';
import type { VideoRecipe } from './recipe.ts';
import type { Stage } from './train.ts';
import { answerClips, type Said } from './video-decoder.ts';
import { openVideoData, type AskedClips, type Tellings } from './video-data.ts';

export interface VideoWeights {
  projector: ProjectorWeights; // of standardised features
  decoder: LlamaWeights;
  scorers: ScorerWeights; // none where all tokens go through all layers
}

export interface VideoBatch extends Prompted<ClipQuestion> {
  features: tf.Tensor3D; // [B·F, n, D], standardised
  tellings: Tellings;
}

/**
 * @param dir the folder that was begun for it
 * @param config its own: a few words more than those of the model that it starts from
 * @param from the trained LLaVA
 * @param name of the files that a run leaves
 */
export async function createVideoStage(
  dir: string,
  config: LlavaConfig,
  from: Llava,
  recipe: VideoRecipe,
  name: string,
): Promise<Told<Stage<VideoWeights, VideoBatch>> & { scale: FeatureScale }> {
  const { pace, seed, telling } = recipe;
  const data = await openVideoData(dir, config, recipe);
  const source = describeSource(config);
  const cells = poolCells(source, recipe.pool);
  const scale = measureFeatures(createScenes('train', firstIndex(seed), recipe.standardise), 32, (scenes) =>
    readFeatures(from.vision, data.pixels(scenes), config),
  );
  const look = (clips: readonly Clip[]): tf.Tensor3D =>
    tf.tidy(() => {
      const F = readFeatures(from.vision, data.pixels(clips.flatMap(frameScenes)), config); // [B·F, P, D]
      const W = matrixOf(
        Array.from({ length: F.shape[0] }, () => cells),
        source.patches,
      );
      return standardise(applyMatrix(W, F), scale);
    });
  const drawBatch = (asked: AskedClips): VideoBatch => ({
    features: look(asked.clips),
    tellings: data.tellings(asked, Math.sqrt(cells.length)),
    ...data.prompt(asked, asked.clips[0].frames * cells.length),
  });
  const say = ({ projector, decoder, scorers }: VideoWeights, batch: VideoBatch): Said =>
    tf.tidy(() => {
      const visual = project({ config: config.projector, weights: projector }, batch.features); // [B·F, n, E]
      const together: tf.Tensor3D = tf.reshape(visual, [batch.questions.length, -1, visual.shape[2]]);
      const depths = { scorers, tokens: cells.length, budget: recipe.budget, patches: source.patches };
      return answerClips({ config: config.text, weights: decoder }, together, batch, depths);
    });

  return {
    name,
    pace,
    recipe: JSON.stringify({ ...recipe, pace: undefined }),
    weights: beginVideo(config, from, scale, seed, recipe.budget < source.patches),
    scale,
    draw: (step) => drawBatch(data.step(step)),
    tell: (step) => data.tell(step),
    loss: (current, batch) => tf.tidy(() => videoLoss(say(current, batch), batch, telling)),
    validate: (current) =>
      measureAnswers(data.validation(), (asked) => {
        const batch = drawBatch(asked);
        return { ...batch, logits: say(current, batch).answers };
      }),
  };
}

/** @param telling λ; what tells and what is silent count alike, though few cells have anything to tell */
export function videoLoss(
  { answers, cells }: Said,
  { packed, tellings }: Pick<VideoBatch, 'packed' | 'tellings'>,
  telling: number,
): tf.Scalar {
  return tf.tidy(() => {
    const mean = (tells: boolean): tf.Scalar => {
      const rows = [...tellings.tells.keys()].filter((i) => tellings.tells[i] === tells);
      if (rows.length === 0) return tf.scalar(0);
      const picked = tf.gather(cells, tf.tensor1d(rows, 'int32'));
      return crossEntropy(
        picked,
        rows.map((i) => tellings.targets[i]),
      );
    };
    return tf.add(crossEntropy(answers, packed.targets), tf.mul(telling, tf.add(mean(true), mean(false))));
  });
}

/** The trained LLaVA's weights, rows and columns for the new words, and scorers that say little yet. */
function beginVideo(
  config: LlavaConfig,
  { projector, decoder }: Llava,
  scale: FeatureScale,
  seed: number,
  scored: boolean,
): VideoWeights {
  const random = createRandom(seed);
  const E = config.text.hidden_size;
  const words = config.text.vocab_size - decoder.config.vocab_size;
  const normal = (rows: number, columns: number, std: number) =>
    tf.tensor2d(
      Float32Array.from({ length: rows * columns }, () => std * drawNormal(random)),
      [rows, columns],
    );
  const { embed_tokens, lm_head } = decoder.weights;
  const grow = (weight: tf.Tensor2D, axis: 0 | 1, std: number): tf.Tensor2D => {
    if (words === 0) return weight.clone();
    return tf.tidy(() =>
      tf.concat([weight, axis === 0 ? normal(words, E, std) : normal(E, words, std)], axis),
    );
  };
  const table = scored ? videoLlmMod.table(config) : { scorers: {} };
  const { scorers } = initialise(table, random, [
    [/bias$/, { constant: 2 }], // a gate of .88: the decoder was trained without one
    [/weight$/, { std: 0.1 / Math.sqrt(E) }],
  ]) as Loaded<typeof table>;
  return {
    projector: unfoldScale(projector.weights, scale),
    decoder: {
      ...decoder.weights,
      embed_tokens: grow(asFloat32(embed_tokens), 0, 0.5),
      lm_head: { weight: grow(lm_head.weight as tf.Tensor2D, 1, 1 / Math.sqrt(3 * E)) },
    },
    scorers,
  };
}
