/**
 * SparseVLM: the words that speak of the picture rate its tokens; of those that go, the best are merged, not lost.
 * "SparseVLM: Visual Token Sparsification for Efficient Vision-Language Model Inference", arXiv 2410.04417,
 * Gumpest/SparseVLMs.
 *
 *     m      = mean over v of softmax over q of H_v·H_qᵀ            embeddings before layer 0; q: the text behind the picture
 *     raters = the text tokens q with m_q ≥ mean of m
 *     s_j    = mean over raters i of A[i, j]                        A = head mean of attention[l − 1], [B, T, T]
 *     kept   = top-(n − c) of s                                     before layer l
 *     pool   = the best r = 30 % of the others
 *     c      = ⌊pool/10⌋ + 1 clusters of the pool (DPC-KNN with k = c, density-peaks.ts), each merged into its mean
 *
 * | point | paper | released code | here |
 * | --- | --- | --- | --- |
 * | raters | ≥ mean | > mean, of the text behind the picture | ≥ mean; a prompt that ends with its picture is rated by its last token |
 * | cuts | every layer, by the rank of the attention | after layers 2, 6, 15 of 32 | before the layers at 3/32, 7/32, 16/32 of the depth |
 * | counts | n − rank, scaled | lists by hand: 300, 200, 110; 303, 110, 36; 66, 30, 17 | n_i = round(P·(U/P)^(i/3)), i = 1, 2, 3 |
 * | pool | the best τ·n of n that go | ⌊.3·n⌋ + 1 | round(r·n), with r = .3 |
 * | merged tokens | in addition | in addition | part of n_i |
 * | merging | sum, weighted | plain mean | plain mean |
 * | place of the merged | – | behind the kept ones | at their cluster centre |
 * | positions | – | renumbered 0, 1, 2, … | original; a merged token has its centre's |
 *
 * A version 2.0 is released too, with original positions, no merging and chosen heads: it is not this one.
 *
 * The budget U is what the last stage holds, kept and merged together: with U = 110 of 576, 332, 191 and 110. Where two cuts
 * fall on one layer of a shallow decoder, the later one counts.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { DecoderState } from '../decoder/state.ts';
import { imagePlaces } from '../decoder/cut.ts';
import { shape } from '../tensor/axes.ts';
import { scope } from '../tensor/scope.ts';
import { firstOf, keepToken, matrixOf, meanOf, type TokenMatrix } from '../tensor/token-matrix.ts';
import { checkShare, checkWhole } from './checks.ts';
import { clusterByDensity } from './density-peaks.ts';
import { descending, readPictures } from './host.ts';
import { countImage, ofImage } from './image-tokens.ts';
import type { Method } from './method.ts';

export const sparsevlm: Method<{ recycle: number }> = {
  name: 'sparsevlm',
  paper:
    'SparseVLM: Visual Token Sparsification for Efficient Vision-Language Model Inference, arXiv 2410.04417',
  summary:
    'drops image tokens in three stages, rated by the words about the picture; merges the best of the dropped',
  stages: ['between'],
  means: true,
  defaults: { recycle: 0.3 },
  help: { recycle: { text: 'r, the share of the dropped tokens that is merged instead; 0 merges none' } },
  prepare({ decoderLayers: L, visualTokens: P }, budget, { recycle }) {
    checkWhole('sparsevlm: decoder layers', L, 2, Infinity, 'its cuts need the attention of a layer before');
    checkShare('sparsevlm: recycle', recycle);
    const counts = stageCounts(L, P, budget);
    const left = [...counts].map(([l, n]) => `${n} from layer ${l}`).join(', ');
    return {
      words: {
        'decoder.matrix.LL': `those that words about the picture look at most, some of the rest merged: ${left}`,
      },
      between() {
        let raters: number[][] = []; // positions in the prompt, [B][…]
        return {
          needsAttention: (l) => counts.has(l),
          async cut(l, view) {
            if (l === 0) raters = await findRaters(view);
            const count = counts.get(l);
            if (count === undefined || countImage(view) <= count) return undefined;
            return sparsify(view, raters, count, recycle);
          },
        };
      },
    };
  },
};

/** n_i before each layer that begins with a cut: geometric from P to U. */
export function stageCounts(L: number, P: number, U: number): Map<number, number> {
  return new Map(
    [3, 7, 16].map((layer, i) => [
      Math.max(1, Math.round((layer * L) / 32)),
      Math.max(1, Math.round(P * (U / P) ** ((i + 1) / 3))),
    ]),
  );
}

/**
 * How P tokens become n: so many are kept, and a pool of the others is merged into so many.
 * Keeping one token fewer adds at most one merged token, so some number of kept tokens makes the sum n.
 */
export function splitBudget(
  P: number,
  n: number,
  recycle: number,
): { kept: number; pool: number; merged: number } {
  if (recycle === 0) return { kept: n, pool: 0, merged: 0 };
  const poolOf = (kept: number) => Math.max(1, Math.round(recycle * (P - kept)));
  const mergedOf = (kept: number) => Math.floor(poolOf(kept) / 10) + 1;
  let kept = n - 1;
  while (kept > 0 && kept + mergedOf(kept) > n) kept--;
  return { kept, pool: poolOf(kept), merged: Math.min(mergedOf(kept), n - kept) };
}

/** The positions of the text tokens that the picture is nearest to, [B][…]. */
async function findRaters({ hidden, positions, roles }: DecoderState): Promise<number[][]> {
  const places = await positions.array();
  const raters: number[][] = [];
  for (const [b, row] of roles.entries()) {
    const image = [...row.keys()].filter((t) => row[t] === 'image');
    const text = [...row.keys()].filter((t) => t > Math.max(...image));
    if (image.length === 0 || text.length === 0) {
      raters.push(places[b].slice(-1));
      continue;
    }
    using own = scope();
    const means = own(
      tf.tidy(() => {
        const tokens = tf.squeeze<tf.Tensor2D>(
          tf.slice(hidden, [b, 0, 0], [1, ...hidden.shape.slice(1)]),
          [0],
        );
        const [V, Q] = [tf.gather(tokens, image), tf.gather(tokens, text)];
        return tf.mean<tf.Tensor1D>(tf.softmax(tf.matMul(V, tf.transpose(Q))), 0); // m, over the text: [Q]
      }),
    );
    const m = await means.array();
    const mean = m.reduce((sum, x) => sum + x, 0) / m.length;
    raters.push(text.filter((_, i) => m[i] >= mean).map((t) => places[b][t]));
  }
  return raters;
}

/** W of n tokens, kept or merged. */
async function sparsify(
  view: DecoderState,
  raters: number[][],
  n: number,
  recycle: number,
): Promise<TokenMatrix> {
  const { hidden, positions, roles } = view;
  const image = imagePlaces(roles);
  const places = await positions.array();
  const rows = raters.map((row, b) => row.map((position) => places[b].indexOf(position)));
  const P = image[0].length;
  const { kept, pool, merged } = splitBudget(P, n, recycle);
  const scores = await readPictures('compress.scores', () =>
    ofImage(meanOfRows(view.attention!, rows), view),
  ); // s
  const W = scores.map(async (s, b) => {
    const order = descending(s);
    const rest = order.slice(kept, kept + pool).sort((i, j) => i - j); // the pool
    const tokens = rest.map((i) => image[b][i]);
    const clusters =
      merged === 0 ? [] : clusterByDensity(await readDistances(hidden, b, tokens), merged, merged);
    return [
      ...order.slice(0, kept).map(keepToken),
      ...clusters.map((cluster) => meanOf(cluster.map((i) => rest[i]))), // the centre first: there it stands
    ].sort((x, y) => firstOf(x) - firstOf(y));
  });
  return matrixOf(await Promise.all(W), P);
}

/**
 * The head mean of some queries' attention.
 * @param attention [B, H, T, T]
 * @param rows which queries of each item, [B][…]
 * @returns [B, T]
 */
function meanOfRows(attention: tf.Tensor4D, rows: number[][]): tf.Tensor2D {
  return tf.tidy(() => {
    const { H, T } = shape({ attention }, 'B H T T', { B: rows.length });
    const items = rows.map((queries, b) => {
      const heads = tf.reshape(tf.slice(attention, [b, 0, 0, 0], [1, H, T, T]), [H, T, T]);
      return tf.mean<tf.Tensor1D>(tf.gather(heads, queries, 1), [0, 1]); // [T]
    });
    return tf.stack(items) as tf.Tensor2D;
  });
}

/** d² = ‖x_i − x_j‖² / E of some tokens of an item, in float64: [n, n]. */
async function readDistances(hidden: tf.Tensor3D, b: number, tokens: number[]): Promise<Float64Array> {
  using own = scope();
  const [, T, E] = hidden.shape;
  const item = own(
    tf.tidy(() => tf.gather(tf.reshape(tf.slice(hidden, [b, 0, 0], [1, T, E]), [T, E]), tokens)),
  );
  const x = (await item.array()) as number[][];
  const distance = (a: number[], c: number[]) => a.reduce((sum, v, e) => sum + (v - c[e]) ** 2, 0) / E;
  return Float64Array.from(x.flatMap((a) => x.map((c) => distance(a, c))));
}
