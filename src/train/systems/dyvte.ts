/**
 * DyVTE's gates (compress/trained/dyvte.ts), on a decoder that stays as it is. Each step draws one layer l. After it the
 * batch goes on twice: with the picture, and with no text looking at it any more, which is its exit as far as text is
 * concerned. A question's gate is to open where that changes nothing:
 *
 *     label = 1   iff   all tokens of the answer come out alike   and   loss_exit < 1.03·loss_full
 *     loss  = CrossEntropy(z_l, label)
 *
 * As the release (modeling_llama.py:907-973). There a sample is one question, answered in many tokens, of which more than
 * 99 % are to agree; ours are a word and its end, so that all are. It trains for an epoch of 1 % of LLaVA-665k with rate
 * 6e-5; here as long as the gates still improve. A step leaves the other layers' gates their momentum alone.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Llava } from '../../checkpoint/load.ts';
import { dyvte, runGate, type DyvteWeights } from '../../compress/trained/dyvte.ts';
import type { Llama } from '../../decoder/llama.ts';
import { project } from '../../projector.ts';
import { createRandom } from '../../random.ts';
import { MASKED } from '../../tensor/attention.ts';
import { hashText } from '../../world/split.ts';
import { readFeatures } from '../features.ts';
import { initialise } from '../initialise.ts';
import { openLlavaData, type Asked } from '../llava-data.ts';
import { crossEntropy } from '../losses.ts';
import { openPacked, readPacked, runPacked, type PackedState } from '../packed-decoder.ts';
import type { Prompted } from '../pack.ts';
import { touchAll } from '../parameters.ts';
import { llavaRecipe } from '../recipe.ts';
import { dataSeed, type SystemRecipe, type SystemStage } from './run.ts';

export interface DyvteRecipe extends SystemRecipe {
  /** Pictures in a batch, and questions about each. */
  pictures: number;
  questions: number;
  frames: readonly number[];
  validation: number;
}

export const dyvteRecipe: DyvteRecipe = {
  pace: {
    steps: 400,
    peak: 1e-3,
    warmUp: 12,
    adamw: { ...llavaRecipe.pace.adamw, weightDecay: 0 },
    validateEvery: 50,
  },
  seed: 0,
  pictures: 32,
  questions: 8,
  frames: llavaRecipe.frames,
  validation: 128,
};

/** What the gate of one layer is shown, and what it is to say. */
export interface DyvteBatch {
  layer: number;
  x: tf.Tensor2D; // [M, 2E], M questions
  labels: number[]; // [M]
}

/** The stage that trains the gates. @param dir the model's folder */
export async function createDyvteStage(
  { config, vision, projector, decoder }: Llava,
  dir: string,
  recipe: DyvteRecipe,
): Promise<SystemStage<DyvteWeights, DyvteBatch>> {
  const L = config.text.num_hidden_layers;
  const data = await openLlavaData(dir, config, { ...recipe, seed: dataSeed(recipe.seed) });
  const open = (asked: Asked) => {
    const patches = data.patches(asked.scenes);
    const features = readFeatures(vision, data.pixels(asked.scenes), config, patches);
    const prompted = data.prompt(asked, patches.length);
    return { prompted, state: openPacked(decoder, project(projector, features), prompted) };
  };
  return {
    name: dyvte.name,
    pace: recipe.pace,
    recipe: JSON.stringify({ ...recipe, pace: undefined }),
    weights: initialise(dyvte.table(config), createRandom(recipe.seed), []), // as PyTorch's Linear; there xavier_uniform
    draw: (step) =>
      tf.tidy(() => {
        const layer = Math.floor(createRandom(hashText(`gate ${recipe.seed} ${step}`))() * L);
        const { prompted, state } = open(data.step(step));
        const after = runPacked(decoder, state, 0, layer + 1);
        const { labels } = compareExit(decoder, after, prompted, layer + 1);
        return { layer, x: readQuestions(after, prompted), labels };
      }),
    tell: (step) => data.tell(step),
    loss: (weights, batch) => gateLoss(weights, batch),
    validate: (weights) => measureExits(decoder, weights, [...data.validation()].map(open)),
  };
}

/** The loss of one layer's gate; the others' take part with nothing. */
export function gateLoss(weights: DyvteWeights, { layer, x, labels }: DyvteBatch): tf.Scalar {
  return tf.tidy(() => {
    return touchAll(crossEntropy(runGate(weights.gates[layer], x), labels), weights);
  });
}

/** Where each question is in the packed sequences, in their order: its first and last token, [M]. */
function findQuestions({ packed: { layout, rows, firsts } }: Prompted, T: number) {
  const starts = layout.slots.map(
    (_, q) => layout.prefix + layout.slots.slice(0, q).reduce((a, b) => a + b, 0),
  );
  return firsts.flatMap(
    (ofScene, b) =>
      ofScene.slice(0, -1).map((at, q) => ({ b, at, first: starts[q], last: rows[at] - b * T })), // the caption is none
  );
}

/**
 * What a gate sees of packed questions: `readText` of each as if it were asked alone.
 * @returns [M, 2E]
 */
export function readQuestions({ hidden }: PackedState, prompted: Prompted): tf.Tensor2D {
  return tf.tidy(() => {
    const [B, T, E] = hidden.shape;
    const places = findQuestions(prompted, T);
    const tokens: tf.Tensor2D = tf.reshape(hidden, [B * T, E]);
    const weights = new Float32Array(places.length * T);
    for (const [m, { first, last }] of places.entries()) {
      const [from, count] = last > first ? [first, last - first] : [last, 1];
      weights.fill(1 / count, m * T + from, m * T + from + count);
    }
    const ofScene: tf.Tensor3D = tf.tensor3d(weights, [B, places.length / B, T]);
    const means: tf.Tensor2D = tf.reshape(tf.matMul(ofScene, hidden), [places.length, E]);
    const lasts = tf.gather(tokens, places.map(({ b, last }) => b * T + last)); // prettier-ignore
    return tf.concat([means, lasts], 1);
  });
}

/** What leaving changes for each question, [M]. */
interface Exit {
  labels: number[];
  /** Whether the first token is right, with the picture and after its exit. */
  right: { full: boolean; exit: boolean }[];
}

/**
 * Goes on from before a layer with the picture, and with all columns of the picture hidden.
 * @param from the first layer after the exit; L: the exit changes nothing
 */
export function compareExit(decoder: Llama, state: PackedState, prompted: Prompted, from: number): Exit {
  return tf.tidy(() => {
    const [full, exit] = [state.mask, hidePicture(state.mask, prompted)].map((mask) => {
      const logits = readPacked(
        decoder,
        runPacked(decoder, { ...state, mask }, from, Infinity),
        prompted.packed,
      );
      const said = tf.argMax(logits, 1).dataSync();
      return { said, logs: tf.logSoftmax(logits).dataSync(), V: logits.shape[1] };
    });
    const { targets } = prompted.packed;
    const tokens = [0, 1]; // a word and its end
    const loss = ({ logs, V }: typeof full, at: number) =>
      tokens.reduce((sum, i) => sum - logs[(at + i) * V + targets[at + i]], 0) / tokens.length;
    const places = findQuestions(prompted, state.hidden.shape[1]);
    return {
      labels: places.map(({ at }) => {
        const agree = tokens.every((i) => full.said[at + i] === exit.said[at + i]);
        return agree && loss(exit, at) < 1.03 * loss(full, at) ? 1 : 0;
      }),
      right: places.map(({ at }) => ({
        full: full.said[at] === targets[at],
        exit: exit.said[at] === targets[at],
      })),
    };
  });
}

/** Nobody looks at the picture. */
function hidePicture(mask: tf.Tensor2D, { before, packed: { layout } }: Prompted): tf.Tensor2D {
  const T = mask.shape[0];
  const columns = Array.from({ length: T }, (_, t) => (t >= before.length && t < layout.prefix ? MASKED : 0));
  return tf.maximum(tf.add(mask, tf.tensor2d([columns])), MASKED);
}

/** How well the gates do: their answers, how deep the picture goes, and how often a gate says what its label says. */
function measureExits(
  decoder: Llama,
  { gates }: DyvteWeights,
  batches: readonly { prompted: Prompted; state: PackedState }[],
): Record<string, number> {
  const L = gates.length;
  const layers = [...Array(L - 1).keys()];
  const all: { full: boolean; right: boolean; depth: number; told: number }[] = [];
  for (const { prompted, state } of batches) {
    tf.tidy(() => {
      let after = state;
      const exits = layers.map((l) => {
        after = runPacked(decoder, after, l, l + 1);
        const z = runGate(gates[l], readQuestions(after, prompted)).arraySync();
        return {
          ...compareExit(decoder, after, prompted, l + 1),
          open: z.map(([stay, exit]) => exit > stay),
        };
      });
      for (const m of exits[0].labels.keys()) {
        const l = exits.findIndex(({ open }) => open[m]);
        const told = exits.filter(({ open, labels }) => Number(open[m]) === labels[m]).length / exits.length;
        const { full } = exits[0].right[m];
        all.push({ full, right: l < 0 ? full : exits[l].right[m].exit, depth: l < 0 ? L : l + 1, told });
      }
    });
  }
  const mean = (of: (one: (typeof all)[number]) => number) =>
    all.reduce((sum, one) => sum + of(one), 0) / all.length;
  return {
    uncut: mean(({ full }) => Number(full)),
    accuracy: mean(({ right }) => Number(right)),
    layers: mean(({ depth }) => depth),
    gates: mean(({ told }) => told),
  };
}
