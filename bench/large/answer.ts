/** One picture and question through a model at its true size, step by step: what each takes, in wall and processor time. */
import type * as tf from '@tensorflow/tfjs-core';
import type { Llava } from '../../src/checkpoint/load.ts';
import { none } from '../../src/compress/none.ts';
import { vtcCls } from '../../src/compress/vtc-cls.ts';
import { prefillMacs, visionMacs } from '../../src/cost.ts';
import { prefill, decode } from '../../src/decoder/generate.ts';
import { splicePictures } from '../../src/decoder/splice-frames.ts';
import { prepareAnswer } from '../../src/plan.ts';
import { project } from '../../src/projector.ts';
import { choose, see } from '../../src/story.ts';
import { scope } from '../../src/tensor/scope.ts';
import { patchCount } from '../../src/vision/config.ts';
import { textTokens } from '../shapes.ts';
import { inputRecipe, inputTensor } from '../weights.ts';

/** Seconds of wall time, and of all cores'. */
export interface Taken {
  wall: number;
  cpu: number;
}

/** What an answer took. Reading is projecting, splicing and the decoder's pass over the prompt. */
export interface Timed {
  seeing: Taken;
  reading: Taken;
  writing: Taken;
  tokens: number[];
  /** FLOPs of seeing and reading. */
  flops: number;
}

export const newTokens = 32;

/** Runs until its values are there. */
export async function take<T>(work: () => Promise<T>): Promise<{ made: T; taken: Taken }> {
  const [wall, cpu] = [performance.now(), process.cpuUsage()];
  const made = await work();
  const { user, system } = process.cpuUsage(cpu);
  return { made, taken: { wall: (performance.now() - wall) / 1000, cpu: (user + system) / 1e6 } };
}

/** VTC-CLS with U of the P visual tokens; all of them uncut. @param written how many tokens of answer */
export async function timeAnswer(model: Llava, U: number, written = newTokens): Promise<Timed> {
  using own = scope();
  const { config, decoder } = model;
  const S = config.vision.image_size;
  const pixels = own(inputTensor<tf.Tensor4D>(inputRecipe('pixels', [1, S, S, 3])));
  const half = Array.from({ length: textTokens / 2 }, (_, i) => 100 + 97 * i);
  const prompts = [{ before: half, after: half }];
  const method = U === patchCount(config.vision) ? none : vtcCls;
  const chosen = { method, methodOptions: method.defaults, budget: U };
  const plan = prepareAnswer(config, chosen, prompts, { maxNewTokens: written });

  const seen = await take(async () => {
    const sight = own(await see(model, pixels, plan));
    const picture = own(await choose(model, sight, plan));
    await picture.tokens.data();
    return picture;
  });
  const read = await take(async () => {
    const Z = own(project(model.projector, seen.made.tokens));
    const X = own(splicePictures(decoder, prompts, Z, seen.made));
    const session = own(await prefill(decoder, X, { maxNewTokens: written }));
    await session.logits.data();
    return session;
  });
  const wrote = await take(() => decode(decoder, read.made, { maxNewTokens: written }));
  const { hidden_size: E, vocab_size: V, num_hidden_layers: L } = config.text;
  const D = config.vision.hidden_size;
  const macs =
    visionMacs(config.vision, config.vision.num_hidden_layers - 1) +
    U * (D * E + E * E) +
    prefillMacs(config.text, new Array<number>(L).fill(U + textTokens)) +
    E * V;
  return {
    seeing: seen.taken,
    reading: read.taken,
    writing: wrote.taken,
    tokens: wrote.made[0],
    flops: 2 * macs,
  };
}
