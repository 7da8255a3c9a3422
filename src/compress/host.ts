/** What methods that decide on the host share. */
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { scope } from '../tensor/scope.ts';

/**
 * The values of each picture of something computed.
 * @param what names it in the refusal
 * @param compute makes a tensor [B, …], inside a tidy
 * @returns B arrays
 * @throws UserError when one is NaN: a comparison with NaN is always false, and any choice would come out
 */
export async function readPictures(what: string, compute: () => tf.Tensor): Promise<Float32Array[]> {
  using own = scope();
  const tensor = own(tf.tidy(compute));
  const values = (await tensor.data()) as Float32Array;
  const [B, ...each] = tensor.shape;
  const size = each.reduce((product, n) => product * n, 1);
  return Array.from({ length: B }, (_, b) => {
    const picture = values.subarray(b * size, (b + 1) * size);
    const nan = picture.findIndex(Number.isNaN);
    if (nan >= 0) {
      const place = [b, ...unravel(nan, each)].join(', ');
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
