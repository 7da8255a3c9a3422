/** Watches a method between the decoder's layers from outside: which patches are left at the end? */
import type * as tf from '@tensorflow/tfjs-core';
import type { LayerHook } from '../decoder/state.ts';

/** What became of the picture's tokens. */
export interface Followed {
  /** Patches that reached the last layer as themselves, ascending. */
  kept: number[];
  /** Image tokens of the last layer that are none of the patches: merged ones. */
  made: number;
}

/**
 * The same hook, watched while it reads one prompt. A token that enters a layer with exactly the hidden state of one
 * that left the layer before is that token; positions would not tell, for a method may move them.
 * @param firstPatch which of the picture's tokens is patch 0: 1 where the checkpoint keeps [CLS]
 */
export function followPatches(
  hook: LayerHook,
  firstPatch: number,
): { hook: LayerHook; tell: () => Followed } {
  let ids: number[] | undefined; // of each token its place in the picture, −1 for text, NaN for a new one
  const watched: LayerHook = {
    ...hook,
    async beforeLayer(layer, state, past, ahead) {
      if (past > 0) return hook.beforeLayer(layer, state, past, ahead);
      let images = 0;
      ids ??= state.roles[0].map((role) => (role === 'image' ? images++ : -1));
      const before = state.hidden.clone(); // the hook may hand back other tensors
      try {
        const next = await hook.beforeLayer(layer, state, past, ahead);
        if (next.hidden !== state.hidden) {
          const places = new Map((await rowsOf(before)).map((row, t) => [row, t]));
          const known = ids;
          ids = (await rowsOf(next.hidden)).map((row, t) =>
            next.roles[0][t] === 'text' ? -1 : (known[places.get(row) ?? -1] ?? NaN),
          );
        }
        return next;
      } finally {
        before.dispose();
      }
    },
  };
  const tell = (): Followed => {
    const left = ids ?? [];
    return {
      kept: left.filter((id) => id >= firstPatch).map((id) => id - firstPatch),
      made: left.filter(Number.isNaN).length,
    };
  };
  return { hook: watched, tell };
}

/** Each token's hidden state as a text to compare by: item 0 of [B, T, E]. */
async function rowsOf(hidden: tf.Tensor3D): Promise<string[]> {
  const [, T, E] = hidden.shape;
  const values = (await hidden.data()) as Float32Array;
  return Array.from({ length: T }, (_, t) =>
    Buffer.from(values.slice(t * E, (t + 1) * E).buffer).toString('latin1'),
  );
}
