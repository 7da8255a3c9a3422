/** What the tower looked at, as numbers for the page. */
import * as tf from '@tensorflow/tfjs-core';
import type { SeenPictures } from '../../story.ts';
import { scope } from '../../tensor/scope.ts';

/** Of one picture, by layer. */
export interface Maps {
  /** What [CLS] gives to each patch, after the softmax: [layers][H][P]. */
  cls: number[][][];
  /** What each patch is given by all N tokens, mean over heads and tokens: [layers][P]. */
  received: number[][];
  /** ‖x_p‖₂ of each layer's output: [layers][P]. */
  norms: number[][];
}

/** @param layers those of the tower that run; hidden[l + 1] is the output of layer l */
export async function readMaps(
  { clsAttention, attention, hidden }: Pick<SeenPictures, 'clsAttention' | 'attention' | 'hidden'>,
  layers: number,
): Promise<Maps> {
  using own = scope();
  const all = [...Array(layers).keys()];
  const [cls, received, norms] = own(
    tf.tidy(() => [
      tf.concat(all.map((l) => clsAttention.get(l)!)), // [layers, H, P]
      tf.concat(all.map((l) => withoutCls(tf.mean(attention.get(l)!, [1, 2])))), // [layers, P]
      tf.concat(all.map((l) => withoutCls(tf.norm(hidden.get(l + 1)!, 'euclidean', 2)))),
    ]),
  );
  return {
    cls: (await cls.array()) as number[][][],
    received: (await received.array()) as number[][],
    norms: (await norms.array()) as number[][],
  };
}

/** [1, N] → [1, P] */
const withoutCls = (row: tf.Tensor): tf.Tensor => tf.slice(row, [0, 1], [1, row.shape[1]! - 1]);
