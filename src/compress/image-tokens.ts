/** What the methods between the decoder's layers share. */
import * as tf from '@tensorflow/tfjs-core';
import { imagePlaces } from '../decoder/cut.ts';
import type { DecoderState } from '../decoder/state.ts';
import { shape } from '../tensor/axes.ts';
import { gatherTokens } from '../tensor/gather.ts';

/** P', how many of the picture's tokens are left. */
export const countImage = ({ roles }: Pick<DecoderState, 'roles'>): number => imagePlaces(roles)[0].length;

/**
 * Of one value a token those of the picture's tokens.
 * @param values [B, T]
 * @returns [B, P']
 */
export function ofImage(values: tf.Tensor2D, { roles }: Pick<DecoderState, 'roles'>): tf.Tensor2D {
  return tf.tidy(() => {
    const places = imagePlaces(roles);
    const { B, T } = shape({ values }, 'B T', { B: places.length });
    const picked = gatherTokens(tf.reshape(values, [B, T, 1]), tf.tensor2d(places, undefined, 'int32'));
    return tf.squeeze<tf.Tensor2D>(picked, [2]);
  });
}
