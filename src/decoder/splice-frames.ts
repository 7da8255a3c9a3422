import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { shape } from '../tensor/axes.ts';
import { embed } from '../tensor/linear.ts';
import { countPictures, textOf, type ImagePrompt } from '../text/prompt.ts';
import type { Llama } from './llama.ts';
import type { NumberToken } from './number-token.ts';
import { checkRows, spliceImage, type OriginalPlaces } from './splice.ts';
import type { DecoderInput, FrameOf } from './state.ts';

/**
 * A picture's tokens, or those of a clip's frames, in their prompt: {@link spliceImage} or {@link spliceFrames}.
 * @param visual Z [B, U, E]
 * @param picture the places of a picture's tokens, where they keep them; how many tokens each frame has, where they differ
 */
export const splicePictures = (
  llama: Llama,
  prompts: readonly ImagePrompt[],
  visual: tf.Tensor3D,
  { places, runs }: { places?: OriginalPlaces; runs?: readonly (readonly number[])[] },
  numberToken?: NumberToken,
): DecoderInput =>
  prompts.some(({ between }) => between)
    ? spliceFrames(llama, prompts, visual, runs)
    : spliceImage(llama, [...prompts], visual, places, numberToken);

/**
 * Puts the visual tokens of several pictures where each stands in the prompt:
 *
 *     [before | Z₁ | between₁ | Z₂ | … | after]
 *
 * Positions are contiguous, 0 .. T − 1.
 * @param prompts per item the token ids around its F pictures; T must come out the same for all
 * @param visual the pictures' tokens, not disposed: [B·F, U, E], U for each; or [B, Z, E] where they have them in common
 * @param runs in that case how many each picture has, [B][F]
 * @returns hidden [B, T, E]; the caller disposes it
 * @throws UserError for no prompts, prompts of unlike lengths, or ids out of the vocabulary
 */
export function spliceFrames(
  { weights, config }: Llama,
  prompts: readonly ImagePrompt[],
  visual: tf.Tensor3D,
  runs?: readonly (readonly number[])[],
): DecoderInput {
  checkRows(prompts.map(textOf), config.vocab_size);
  const E = config.hidden_size;
  const [count, U] = visual.shape;
  shape({ visual }, 'N U E', { E });
  const lengths = runs ?? prompts.map((prompt) => Array.from({ length: countPictures(prompt) }, () => U));
  const tokens = lengths.flat().reduce((sum, n) => sum + n, 0);
  if (tokens !== count * U) {
    throw new UserError(`${count * U} visual tokens are there, but the prompts’ pictures have ${tokens}`);
  }
  const segments = prompts.map((prompt, b) => cutSegments(prompt, lengths[b]));
  const [T, ...others] = segments.map((row) => row.reduce((sum, { length }) => sum + length, 0));
  if (others.some((length) => length !== T)) {
    throw new UserError(
      `the prompts of a batch take ${[T, ...others].join(', ')} positions: they must take equally many`,
    );
  }
  const hidden = tf.tidy(() => {
    const all: tf.Tensor3D = tf.reshape(visual, [1, count * U, E]);
    let next = 0; // of the visual tokens
    const rows = segments.map((row) => {
      const parts = row.map(({ ids, length }): tf.Tensor3D => {
        if (ids) return embed(weights.embed_tokens, tf.tensor2d([ids], [1, length], 'int32'));
        next += length;
        return tf.slice(all, [0, next - length, 0], [1, length, E]);
      });
      return tf.concat(parts, 1); // [1, T, E]
    });
    return tf.concat(rows, 0);
  });
  const frames = segments.map((row) =>
    row.flatMap(({ frame, length }): FrameOf[] => Array.from({ length }, () => frame)),
  );
  return {
    hidden,
    positions: tf.tensor2d(
      segments.map(() => Array.from({ length: T }, (_, t) => t)),
      [prompts.length, T],
      'int32',
    ),
    roles: frames.map((row) => row.map((frame) => (frame === undefined ? 'text' : 'image'))),
    frames,
    nextPosition: T,
  };
}

/** A stretch of a prompt: text, or the tokens of a picture. */
type Segment =
  { ids: number[]; frame?: undefined; length: number } | { ids?: undefined; frame: number; length: number };

/** A prompt's stretches in order. @param lengths tokens of each of its pictures */
function cutSegments({ before, between = [], after }: ImagePrompt, lengths: readonly number[]): Segment[] {
  const text = (ids: number[]): Segment => ({ ids, length: ids.length });
  const texts = [...between, after];
  const all = [text(before), ...lengths.flatMap((length, frame) => [{ frame, length }, text(texts[frame])])];
  return all.filter(({ length }) => length > 0);
}
