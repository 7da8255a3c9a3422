/**
 * A picture that is seen as several views, LLaVA-NeXT's thumbnail and crops (image/views.ts), to a method and to the decoder.
 *
 *     tower     V pictures                                    each view by itself
 *     choice    in each view v, U_v of the P_v patches that the decoder reads; Σ U_v = min(U·V, P + R·C) exactly
 *     decoder   [thumbnail | row ⏎ | row ⏎ | …]               the crops as one grid, a newline behind each of its R rows
 *
 * U is the budget of a view on average, as it is of a whole picture elsewhere; a view with less than its share of patches in
 * the picture, not in the padding, leaves the others more. **Every row keeps its newline**, however many of its patches stay:
 * R tokens beside the budget, so that what is left still stands in its row.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { OriginalPlaces } from '../decoder/splice.ts';
import { UserError } from '../errors.ts';
import { countPatches, type Views } from '../image/views.ts';
import { gatherTokens } from '../tensor/gather.ts';
import { scope } from '../tensor/scope.ts';
import {
  firstOf,
  keepToken,
  matrixOf,
  multiply,
  type Row,
  type TokenMatrix,
} from '../tensor/token-matrix.ts';
import { wholeFeatures } from '../vision/features.ts';
import type { Sight } from '../vision/tower.ts';
import { argmax } from './host.ts';
import type { Choice, Method, MethodOptions, Resources, Seen, Source, Stages, TowerNeeds } from './method.ts';

/** What a method may know of a picture of several views, before any is taken by itself. */
export const viewedSource = (source: Source, views: Views): Source => ({
  ...source,
  patches: countPatches(views),
  grid: undefined,
  visualTokens: countPatches(views) + views.rows,
  views,
});

/** U of each of V views, as one budget of the picture; all where there is less. */
export const viewedBudget = (U: number, views: Views): number =>
  Math.min(U * views.views.length, countPatches(views));

/** Of one view by itself. Where part of it is padding its patches are no square. */
const sourceOfView = (source: Source, { grid, views }: Views, v: number): Source => {
  const P = views[v].patches.length;
  return {
    ...source,
    views: undefined,
    patches: P,
    grid: P === grid ** 2 ? grid : undefined,
    visualTokens: P,
  };
};

/**
 * `total` tokens shared out by weights: one after the other goes to the view that is farthest behind its weight, w / (2n + 1)
 * with n tokens (Sainte-Laguë), among those with room. Equal weights give equal shares, to one token.
 * @returns Σ = min(total, Σ rooms), none above its room
 */
export function shareOut(total: number, weights: readonly number[], rooms: readonly number[]): number[] {
  const shares = rooms.map(() => 0);
  for (let left = total; left > 0; left--) {
    const open = [...rooms.keys()].filter((v) => shares[v] < rooms[v]);
    if (open.length === 0) break;
    shares[argmax(open, (v) => weights[v] / (2 * shares[v] + 1))]++;
  }
  return shares;
}

/**
 * A method before the decoder that chooses in each view by itself.
 * @param budget of all the views, Σ U_v
 * @throws UserError for a method that cannot, in one of them
 */
export function prepareInViews(
  method: Method,
  source: Source,
  views: Views,
  budget: number,
  options: MethodOptions,
  resources: Resources,
): Stages {
  const rooms = views.views.map(({ patches }) => patches.length);
  const equal = shareOut(budget, Array<number>(rooms.length).fill(1), rooms);
  const stagesOf = (v: number, U: number) =>
    method.prepare(sourceOfView(source, views, v), U, options, numberView(resources, v, rooms.length));
  const prepared = equal.flatMap((U, v) => (U > 0 ? [stagesOf(v, U)] : []));
  const { needs = {}, words, brings, takesCls } = prepared[0];
  const why = brings
    ? 'was trained with a decoder of its own, which knows no crops'
    : takesCls
      ? 'keeps the [CLS] of each, which has no place in the grid of crops: -o cls=drop leaves it out'
      : undefined;
  if (why) throw new UserError(`${method.name}, on a picture of ${rooms.length} views: it ${why}`);
  const sharing = method.share?.(source, views, options);
  const leaves = prepared.map(({ leaves }, i) => leaves ?? equal.filter((U) => U > 0)[i]);
  return {
    words: words && {
      ...words,
      'compress.matrix': `in each of ${rooms.length} views: ${words['compress.matrix']}`,
    },
    needs: {
      ...needs,
      clsAttention: [...new Set([...(needs.clsAttention ?? []), ...(sharing?.layers ?? [])])],
    },
    leaves: leaves.includes('varies') ? 'varies' : leaves.reduce<number>((sum, n) => sum + Number(n), 0),
    async choose({ views: seen = [] }) {
      const shares = sharing ? await sharing.of(seen[0], budget) : equal;
      const choices: Chosen[] = [];
      for (const [v, U] of shares.entries()) {
        if (U === 0) continue;
        choices.push({ v, ...(await stagesOf(v, U).choose!(showOnly(seen[v], needs))) });
      }
      return joinChoices(choices, views);
    },
  };
}

/** Each view a number of its own, for who draws by chance. */
const numberView = (resources: Resources, v: number, V: number): Resources => ({
  ...resources,
  pictures: [(resources.pictures?.[0] ?? 0) * V + v],
});

/** What a method asked for, without the layers by which its budget was shared out. */
const showOnly = (seen: Seen, { clsAttention: layers = [] }: TowerNeeds): Seen => ({
  ...seen,
  clsAttention: new Map([...seen.clsAttention].filter(([layer]) => layers.includes(layer))),
});

/** What was chosen in view v. */
type Chosen = Choice & { v: number };

/** Of all views together: W over the picture's patches, its rows in the order in which the decoder reads them. */
function joinChoices(choices: readonly Chosen[], views: Views): Choice {
  using own = scope();
  const columns = countPatches(views);
  const rows = choices.flatMap(({ v, W }) => {
    const places = matrixOf([views.views[v].places.map(keepToken)], columns); // of the view's patches in the picture
    return multiply(W, places).rows[0];
  });
  const order = [...rows.keys()].sort((a, b) => firstOf(rows[a]) - firstOf(rows[b]) || a - b);
  const made = own(choices.flatMap(({ tokens }) => tokens ?? []));
  const tokens =
    made.length > 0
      ? tf.tidy(() => gatherTokens(tf.concat(made, 1), tf.tensor2d([order], undefined, 'int32')))
      : undefined;
  return own.keep({
    W: matrixOf([order.map((i) => rows[i])], columns),
    tokens,
    scores: choices.every(({ scores }) => scores) ? [joinScores(choices, views, columns)] : undefined,
  });
}

/** What all the picture's patches were ranked by, each in its view; 0 in a view without a share. */
function joinScores(choices: readonly Chosen[], { views }: Views, columns: number): Float32Array {
  const all = new Float32Array(columns);
  for (const { v, scores } of choices) {
    for (const [i, place] of views[v].places.entries()) all[place] = scores![0][i];
  }
  return all;
}

/**
 * V pictures of the tower as one, with the views it is of: F [1, P + R·C, D], in the order in which the decoder reads it.
 * @param sight of V pictures; it stays the caller's
 * @returns the caller disposes it
 */
export function joinViews(sight: Sight, views: Views): Sight {
  const V = views.views.length;
  if (sight.B !== V) throw new UserError(`pixels are of ${sight.B} views, but the picture has ${V}`);
  const places: number[] = []; // of the picture's patches among the V·P
  for (const [v, view] of views.views.entries()) {
    for (const [i, place] of view.places.entries()) places[place] = v * views.grid ** 2 + view.patches[i];
  }
  const F = sight.features.F();
  const whole = tf.tidy(() => {
    const apart = tf.reshape(F, [V * F.shape[1], F.shape[2]]);
    return tf.expandDims(tf.gather(apart, tf.tensor1d(places, 'int32')), 0) as tf.Tensor3D;
  });
  return {
    B: 1,
    clsAttention: new Map(),
    attention: new Map(),
    keys: new Map(),
    hidden: new Map(),
    features: wholeFeatures({ F: whole }),
    apart: views.views.map(({ patches }, v) => viewOf(sight, v, patches)),
  };
}

/** One view by itself, of which only the patches that the decoder reads are there, [CLS] before them where it was. */
function viewOf(sight: Sight, v: number, patches: readonly number[]): Sight {
  const some = <T extends tf.Tensor>(tensor: T, axes: readonly number[], cls: 0 | 1): T =>
    tf.tidy(() => {
      const rest = tensor.shape.slice(1);
      const own = tf.slice(tensor, [v, ...rest.map(() => 0)], [1, ...rest]);
      const places = [...Array(cls).keys(), ...patches.map((p) => cls + p)];
      return axes.reduce((x, axis) => tf.gather(x, tf.tensor1d(places, 'int32'), axis), own) as T;
    });
  const each = <T extends tf.Tensor>(all: Map<number, T>, axes: readonly number[], cls: 0 | 1) =>
    new Map([...all].map(([layer, tensor]) => [layer, some(tensor, axes, cls)]));
  return {
    B: 1,
    clsAttention: each(sight.clsAttention, [2], 0),
    attention: each(sight.attention, [2, 3], 1),
    keys: each(sight.keys, [2], 1),
    hidden: each(sight.hidden, [1], 1),
    features: wholeFeatures({ F: some(sight.features.F(), [1], 0) }),
  };
}

/** Where newlines go among a picture's tokens: for each of R rows how many tokens come before its end, [R]. */
const rowEndsOf = (tokens: readonly Row[], { grid, rows, columns }: Views): number[] =>
  Array.from({ length: rows }, (_, r) => {
    const end = grid ** 2 + (r + 1) * columns;
    const after = tokens.findIndex((row) => firstOf(row) >= end);
    return after < 0 ? tokens.length : after;
  });

/** Something for each of a picture's tokens, and something for each newline, in the decoder's order. */
function withNewlines<T>(tokens: readonly T[], ends: readonly number[], newline: (row: number) => T): T[] {
  const all: T[] = [];
  for (let u = 0, r = 0; u < tokens.length || r < ends.length;) {
    if (r < ends.length && ends[r] === u) all.push(newline(r++));
    else all.push(tokens[u++]);
  }
  return all;
}

/** W with the rows' newlines, which are of no patch; where they stand; and their places in the uncut picture. */
export function endRowsOf({ rows, columns }: TokenMatrix, views: Views) {
  const P = views.grid ** 2;
  const rowEnds = rows.map((tokens) => rowEndsOf(tokens, views));
  const lineOf = (place: number) => Math.floor((place - P) / views.columns);
  const uncut = (place: number) => (place < P ? place : place + lineOf(place)); // newlines counted
  const places = rows.map((tokens, b) =>
    withNewlines(
      tokens.map((row) => uncut(firstOf(row))),
      rowEnds[b],
      (r) => P + (r + 1) * (views.columns + 1) - 1,
    ),
  );
  const W = matrixOf(
    rows.map((tokens, b) => withNewlines<Row>(tokens, rowEnds[b], () => new Map())),
    columns,
  );
  const original: OriginalPlaces = { places, length: columns + views.rows };
  return { W, rowEnds, places: original };
}

/**
 * Z with a newline behind each row of crops; as it is where there are no rows.
 * @param Z [B, U, E], taken over
 * @param rowEnds after how many tokens each comes, [B][R]
 * @param newline [E]
 * @returns [B, U + R, E]; the caller disposes it
 */
export function endRows(
  Z: tf.Tensor3D,
  rowEnds?: readonly (readonly number[])[],
  newline?: tf.Tensor1D,
): tf.Tensor3D {
  if (!rowEnds || !newline) return Z;
  using own = scope();
  own(Z);
  const [B, U, E] = Z.shape;
  const order = rowEnds.map((ends) => withNewlines([...Array(U).keys()], ends, () => U));
  return tf.tidy(() => {
    const last: tf.Tensor3D = tf.tile(tf.reshape(newline, [1, 1, E]), [B, 1, 1]);
    const both = tf.concat([Z, last], 1);
    return gatherTokens(both, tf.tensor2d(order, undefined, 'int32'));
  });
}
