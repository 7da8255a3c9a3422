import * as tf from '@tensorflow/tfjs-core';
import { free } from '../tensor/scope.ts';
import { applyMatrix, pickedBy, type TokenMatrix } from '../tensor/token-matrix.ts';
import type { Unfinished } from './clip.ts';
import type { SelectedFeatures } from './select.ts';

/** F as a tower leaves it: whole, or with the last layer to be finished for the tokens that a method keeps. */
export interface Features {
  /** [B, P, D]; it stays the features' own. */
  F(): tf.Tensor3D;
  /** [B, 1, D] of [CLS], where the tower has one; the caller disposes it. */
  cls(): tf.Tensor3D | undefined;
  /** F' = W·F [B, U, D]; the caller disposes it. */
  times(W: TokenMatrix): tf.Tensor3D;
  /** Frees all of it. */
  dispose(): void;
}

/** Features that are there; they own the tensors. */
export const wholeFeatures = ({ F, cls }: SelectedFeatures): Features => ({
  F: () => F,
  cls: () => cls?.clone(),
  times: (W) => applyMatrix(W, F),
  dispose: () => free([F, cls]),
});

/**
 * Features whose last layer is finished when they are asked for: where W only picks, for the tokens that it picks.
 * @param last they own it
 * @param select F and [CLS] of all the N tokens
 */
export function openFeatures(
  last: Unfinished,
  prefixTokens: 0 | 1,
  select: (hidden: tf.Tensor3D) => SelectedFeatures,
): Features {
  let made: Features | undefined;
  const whole = () => {
    if (made) return made;
    const { F, cls } = tf.tidy(() => select(last.finish()));
    for (const tensor of [F, cls]) if (tensor) tf.keep(tensor); // also where a tidy asks for them
    return (made = wholeFeatures({ F, cls }));
  };
  return {
    F: () => whole().F(),
    cls: () => whole().cls(),
    times: (W) => {
      const [, U, P] = W.shape;
      const picked = U > 0 && U < P && !made ? pickedBy(W) : undefined;
      return picked
        ? last.finish(picked.map((places) => places.map((p) => prefixTokens + p)))
        : whole().times(W);
    },
    dispose: () => free([made, last]),
  };
}
