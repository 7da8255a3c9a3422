/**
 * Watches a method that works between layers from outside: what becomes of the patches? Each carries a mark in a channel
 * of its own beside the hidden state. Methods drop tokens or average them, channel by channel, so the marks of what
 * comes out say what it was made of.
 */
import * as tf from '@tensorflow/tfjs-core';
import { imagePlaces } from '../compress/image-tokens.ts';
import type { Fates } from '../compress/method.ts';
import type { LayerHook } from '../decoder/state.ts';
import { shape } from '../tensor/axes.ts';
import type { MergeHook } from '../vision/merging.ts';

/** Marks: for each token the share of every patch in it. */
type Marks = Float32Array[];

/** So small that no distance or product of hidden states that a method measures is another for it. */
const markSize = 1e-6;

/**
 * The same hook, watched while it reads one prompt.
 * @param firstPatch which of the picture's tokens is patch 0: 1 where the checkpoint keeps [CLS]
 */
export function followHook(hook: LayerHook, firstPatch: number): { hook: LayerHook; tell: () => Fates } {
  let marks: Marks | undefined;
  const watched: LayerHook = {
    ...hook,
    async beforeLayer(layer, state, past, ahead) {
      if (past > 0) return hook.beforeLayer(layer, state, past, ahead);
      marks ??= startMarks(state.roles[0].length, imagePlaces(state.roles)[0].slice(firstPatch));
      const marked = addMarks(state.hidden, marks);
      try {
        const next = await hook.beforeLayer(layer, { ...state, hidden: marked }, past, ahead);
        if (next.hidden === marked) return { ...next, hidden: state.hidden };
        const { hidden, left } = takeMarks(next.hidden, state.hidden.shape[2]);
        next.hidden.dispose();
        marks = left;
        return { ...next, hidden };
      } finally {
        marked.dispose();
      }
    },
  };
  return { hook: watched, tell: () => readMarks(marks ?? []) };
}

/** The same for a method inside the tower, whose token 0 is [CLS]. */
export function followMerge(merge: MergeHook): { merge: MergeHook; tell: () => Fates } {
  let marks: Marks | undefined;
  const watched: MergeHook = (layer, tokens, keys) => {
    const [, N, D] = tokens.hidden.shape;
    marks ??= startMarks(
      N,
      Array.from({ length: N - 1 }, (_, patch) => 1 + patch),
    );
    const marked = { ...tokens, hidden: addMarks(tokens.hidden, marks) };
    const next = merge(layer, marked, keys);
    if (next.hidden === marked.hidden) return { ...next, hidden: tokens.hidden };
    const { hidden, left } = takeMarks(next.hidden, D);
    marks = left;
    return { ...next, hidden };
  };
  return { merge: watched, tell: () => readMarks(marks ?? []) };
}

/** At each of the patches' places a mark of its own. */
function startMarks(tokens: number, places: readonly number[]): Marks {
  const marks = Array.from({ length: tokens }, () => new Float32Array(places.length));
  for (const [patch, place] of places.entries()) marks[place][patch] = 1;
  return marks;
}

/** [1, N, D] → [1, N, D + P] */
function addMarks(hidden: tf.Tensor3D, marks: Marks): tf.Tensor3D {
  return tf.tidy(() => {
    shape({ hidden }, '1 N D', { N: marks.length });
    const P = marks[0].length;
    const values = Float32Array.from(
      marks.flatMap((row) => [...row]),
      (x) => x * markSize,
    );
    return tf.concat([hidden, tf.tensor3d(values, [1, marks.length, P])], 2);
  });
}

/** [1, N, D + P] → [1, N, D] and the marks */
function takeMarks(marked: tf.Tensor3D, D: number): { hidden: tf.Tensor3D; left: Marks } {
  const [, N, width] = marked.shape;
  const [hidden, beside] = tf.split<tf.Tensor3D>(marked, [D, width - D], 2);
  const values = beside.dataSync();
  beside.dispose();
  const left = Array.from({ length: N }, (_, t) =>
    Float32Array.from(values.subarray(t * (width - D), (t + 1) * (width - D)), (x) => x / markSize),
  );
  return { hidden, left };
}

function readMarks(marks: Marks): Fates {
  const parts = marks.map((row) => [...row.keys()].filter((patch) => row[patch] > 0));
  const left = [...marks.keys()].filter((t) => parts[t].length > 0);
  const groups = Array.from(marks[0] ?? [], (_, patch) => {
    const best = left.reduce((a, b) => (marks[b][patch] > marks[a][patch] ? b : a), left[0]);
    return best !== undefined && marks[best][patch] > 0 ? left.indexOf(best) : -1;
  });
  const alone = left.filter((t) => parts[t].length === 1);
  return {
    kept: alone.map((t) => parts[t][0]).sort((p, q) => p - q),
    made: left.length - alone.length,
    groups,
  };
}
