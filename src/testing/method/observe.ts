/** One method on one small random model, watched from picture to answer. */
import * as tf from '@tensorflow/tfjs-core';
import type { Llava } from '../../checkpoint/load.ts';
import { checked, MethodFault, formatError } from '../../compress/checked.ts';
import { UserError } from '../../errors.ts';
import type { Method } from '../../compress/method.ts';
import { cacheLengths } from '../../decoder/cache.ts';
import { decode, prefill } from '../../decoder/generate.ts';
import { spliceImage } from '../../decoder/splice.ts';
import type { LayerHook } from '../../decoder/state.ts';
import { prepareAnswer, type Plan } from '../../plan.ts';
import { project } from '../../projector.ts';
import { createRandom } from '../../random.ts';
import { choose, see } from '../../story.ts';
import { scope } from '../../tensor/scope.ts';
import type { TokenMatrix } from '../../tensor/token-matrix.ts';
import { createTrace } from '../../tensor/trace.ts';
import type { ImagePrompt } from '../../text/prompt.ts';
import type { LayerTokens } from '../cut.ts';
import { exactNumber } from '../tiny-model.ts';

/** What a method is tried on: B pictures of G × G patches, of which U are to stay. */
export interface Trial {
  G: number;
  B: number;
  U: number;
  /** Of the weights and of the pictures. */
  seed: number;
}

/** A method that is to be watched, whose file names it in messages, and the models it is tried on. */
export interface Tried {
  method: Method;
  file?: string;
  /** The model that a trial runs on. */
  modelOf(this: void, trial: Trial): Llava;
}

/** What came of it. */
export interface Observed {
  /** W before the decoder, [CLS] not counted, and F'. */
  W: TokenMatrix;
  kept?: number[][];
  tokens: number[][][]; // [B][U][D]
  scores?: readonly Float32Array[];
  /** Every W, by its name in the trace. */
  matrices: Map<string, TokenMatrix>;
  /** How many visual tokens came to the decoder; of each picture, what each of its layers ran on. */
  visual: number;
  layers: LayerTokens[][];
  answers: number[][];
  /** Tensors more than before. */
  left: number;
}

const before = [1, 5];
const after = [7, 3, 4];
const maxNewTokens = 2;

/** The places of text and picture in a prompt with so many visual tokens. */
export function placesOf(P: number): { text: number[]; image: number[] } {
  const places = [...Array(before.length + P + after.length).keys()];
  const isImage = (t: number) => t >= before.length && t < before.length + P;
  return { text: places.filter((t) => !isImage(t)), image: places.filter(isImage) };
}

/**
 * @param only which of the pictures; all where it is left out
 * @throws UserError for what the method refuses; MethodFault for what no method may do
 */
export async function observe(tried: Tried, trial: Trial, only?: number): Promise<Observed> {
  const { B, U, seed } = trial;
  const model = tried.modelOf(trial);
  const pictures = Array.from({ length: B }, (_, b) => b).filter((b) => only === undefined || b === only);
  const prompts = pictures.map((b): ImagePrompt => ({ before, after, question: [1, 2 + (b % 4), 7] }));
  const method = checked(tried.method, tried.file);
  const chosen = { method, methodOptions: method.defaults, budget: U };
  const plan = prepareAnswer(model.config, chosen, prompts, { maxNewTokens }, pictures);
  const random = createRandom(seed);
  const S = model.config.vision.image_size;
  const all = Array.from({ length: B }, () =>
    Float32Array.from({ length: S * S * 3 }, () => exactNumber(random)),
  );
  const count = tf.memory().numTensors;
  const values = pictures.flatMap((b) => [...all[b]]);
  const seen = await run(model, plan, prompts, values).catch((error: unknown) => {
    if (error instanceof MethodFault) throw error;
    const told = error instanceof UserError ? error.message : formatError(error, tried.file ?? method.name);
    throw new MethodFault(`after prepare, too late: ${told}`, 'error');
  });
  return { ...seen, left: tf.memory().numTensors - count };
}

async function run(
  model: Llava,
  plan: Plan,
  prompts: ImagePrompt[],
  values: number[],
): Promise<Omit<Observed, 'left'>> {
  using own = scope();
  const S = model.config.vision.image_size;
  const pixels = own(tf.tensor4d(values, [prompts.length, S, S, 3]));
  const trace = createTrace(() => false);
  const seen = own(await see(model, pixels, plan, trace));
  const picture = own(await choose(model, seen, plan, trace));
  const Z = own(project(model.projector, picture.tokens));
  const X = own(spliceImage(model.decoder, prompts, Z));
  const hook = plan.between?.();
  const places: tf.Tensor2D[] = own([]);
  const watching = watch(hook, places);
  const session = own(await prefill(model.decoder, X, { maxNewTokens, hook: watching, trace }));
  const lengths = cacheLengths(session.cache);
  const positions = await Promise.all(places.map((tensor) => tensor.array()));
  const unmoved = hook?.positions !== 'mean'; // then a position is the place that a token stood at
  const layers = prompts.map((_, b) =>
    positions.map((rows, l): LayerTokens => ({
      ...(unmoved && { tokens: rows[b] }),
      cache: lengths[l],
      positions: rows[b],
    })),
  );
  const answers = await decode(model.decoder, session, { maxNewTokens });
  return {
    W: picture.W,
    kept: picture.kept,
    tokens: await picture.tokens.array(),
    scores: picture.scores,
    matrices: trace.matrices,
    visual: picture.tokens.shape[1],
    layers,
    answers,
  };
}

/** The hook, with the positions of what each layer runs on at prefill kept. */
const watch = (hook: LayerHook | undefined, places: tf.Tensor2D[]): LayerHook => ({
  ...hook,
  limit(layer, state, past, sizes) {
    if (past === 0) places.push(tf.keep(state.positions.clone()));
    return hook?.limit?.(layer, state, past, sizes) ?? {};
  },
});
