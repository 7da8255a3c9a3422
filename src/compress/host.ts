/** What methods that decide on the host share. */
import type * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';

/**
 * The values of each picture.
 * @param what names the tensor in the refusal
 * @param tensor [B, …]
 * @returns B arrays
 * @throws UserError when one is NaN: a comparison with NaN is always false, and any choice would come out
 */
export async function readPictures(what: string, tensor: tf.Tensor): Promise<Float32Array[]> {
  return splitPictures(what, (await tensor.data()) as Float32Array, tensor.shape);
}

/** The same of values that are there. */
export function splitPictures(what: string, values: Float32Array, shape: readonly number[]): Float32Array[] {
  const each = values.length / shape[0];
  return Array.from({ length: shape[0] }, (_, b) => {
    const picture = values.subarray(b * each, (b + 1) * each);
    const nan = picture.findIndex(Number.isNaN);
    if (nan >= 0) {
      const place = [b, ...unravel(nan, shape.slice(1))].join(', ');
      throw new UserError(`${what}[${place}] is NaN: the weights or the picture hold NaN`);
    }
    return picture;
  });
}

/** The indices of an element, from its place in the row-major order. */
function unravel(place: number, shape: readonly number[]): number[] {
  const indices: number[] = [];
  for (const length of shape.toReversed()) {
    indices.unshift(place % length);
    place = Math.floor(place / length);
  }
  return indices;
}

/** All indices, the highest value first; of equal values the lower index. */
export const descending = (values: Float32Array | Float64Array): number[] =>
  Array.from(values.keys()).sort((i, j) => values[j] - values[i] || i - j);

/** The index with the largest value among some, the first of equals. */
export function argmax(candidates: readonly number[], value: (candidate: number) => number): number {
  let best = candidates[0];
  for (const candidate of candidates) if (value(candidate) > value(best)) best = candidate;
  return best;
}

/** 0 .. P − 1 without those given. */
export function without(P: number, taken: readonly number[]): number[] {
  const gone = new Set(taken);
  return Array.from({ length: P }, (_, p) => p).filter((p) => !gone.has(p));
}
