/**
 * LLaVA-PruMerge and PruMerge+: attended patches stay and take up what is like them; one token sums up the rest.
 * "LLaVA-PruMerge: Adaptive Token Reduction for Efficient Large Multimodal Models", 2403.15388.
 *
 *     a        = mean over heads of attention[L − 1][:, :, 0, 1:]      [B, P], the tower's last layer
 *     centres  = PruMerge    top-n of a
 *                PruMerge+   top-t of a, and the others spread evenly over the picture
 *     token_c  = F_c + Σ a_q·F_q over the 32 patches q ≠ c with the largest cos(k_c, k_q), k the keys of layer L − 1
 *     last     = Σ a_q·F_q over the patches that are no centre
 *     F'       = [token of each centre; last]                          [B, n + 1, D]
 *
 * How many centres there are:
 *
 *     budget     n = U − 1, so U tokens exactly; of PruMerge+ a quarter by attention, three quarters spread
 *     adaptive   n = t = how many a are above Q₃ + 1.5·(Q₃ − Q₁): outliers, and U is not looked at. PruMerge+ adds
 *                the places 0, s, 2s, … < P − 1 with s = ⌊⌊P / t⌋ / 3⌋ that are not among them
 *
 * Adaptive is the paper's; a fixed budget is what tables compare, and the default. The weights are not divided by
 * their sum: the released code has that commented out, so features are no means. What the code does differently: it
 * takes a from queries and keys of all heads as if they were one, here heads attend apart, as they do in CLIP; its
 * centres stay in the order of a, here they go back to raster order; it counts outliers over the whole batch, here a
 * batch whose pictures differ in their number is refused. New tokens, `kept` is absent; U = P is not the uncut model.
 */
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { mergeHeads } from '../tensor/attention.ts';
import { shape } from '../tensor/axes.ts';
import { cosines } from '../tensor/similarity.ts';
import { matrixOf, type Row } from '../tensor/token-matrix.ts';
import { checkWhole } from './checks.ts';
import { descending, readPictures, without } from './host.ts';
import type { Method } from './method.ts';
import { findOutliers } from './outliers.ts';
import { scoreByCls } from './score.ts';
import { clsLayer, onlyLayer } from './selected-layer.ts';

const counts = ['budget', 'adaptive'] as const;
type Options = { count: (typeof counts)[number]; neighbours: number };

/** Picks the centres of one picture. @param n how many, or undefined for as many as there are outliers */
type PickCentres = (attention: Float32Array, n: number | undefined) => number[];

const topCentres: PickCentres = (attention, n = countOutliers(attention)) =>
  descending(attention).slice(0, n);

const spreadCentres: PickCentres = (attention, n) => {
  const P = attention.length;
  const top = descending(attention).slice(0, n === undefined ? countOutliers(attention) : Math.round(n / 4));
  const others = without(P, top);
  if (n !== undefined) {
    const m = n - top.length;
    return [
      ...top,
      ...Array.from({ length: m }, (_, i) => others[Math.floor(((2 * i + 1) * others.length) / (2 * m))]),
    ];
  }
  const stride = Math.max(1, Math.floor(Math.floor(P / top.length) / 3)); // P where there is no outlier at all
  return [...top, ...others.filter((patch) => patch % stride === 0 && patch < P - 1)];
};

const countOutliers = (values: Float32Array): number => findOutliers(values).filter(Boolean).length;

const describe = (name: string, summary: string, pickCentres: PickCentres): Method<Options> => ({
  name,
  paper: 'LLaVA-PruMerge: Adaptive Token Reduction for Efficient Large Multimodal Models, arXiv 2403.15388',
  summary,
  stages: ['before'],
  makesTokens: true,
  defaults: { count: 'budget', neighbours: 32 },
  help: {
    count: { text: 'U tokens, or as many as there are outliers in the attention and one', choices: counts },
    neighbours: { text: 'how many patches each centre takes up' },
  },
  prepare(source, budget, { count, neighbours }) {
    checkWhole(`${name}: neighbours`, neighbours, 1);
    clsLayer(source, name);
    const last = source.layers - 1;
    const many = count === 'budget' ? `the top ${budget - 1} of s` : 'the outliers of s';
    return {
      words: {
        'compress.matrix': `${many}, each with the ${neighbours} whose keys are most like its own; the rest are one more`,
      },
      needs: { clsAttention: [last], keys: [last] },
      leaves: count === 'budget' ? budget : 'varies',
      async choose({ clsAttention, keys }) {
        const scores = await readPictures('compress.scores', () => scoreByCls(onlyLayer(clsAttention))); // a, [B, P]
        const similarities = await readPictures('similarity', () => cosines(patchKeys(onlyLayer(keys)))); // [B, P, P]
        const rows = scores.map((a, b) => {
          const centres = pickCentres(a, count === 'budget' ? budget - 1 : undefined).sort((p, q) => p - q);
          return mergeInto(centres, a, similarities[b], neighbours);
        });
        const lengths = new Set(rows.map((picture) => picture.length));
        if (lengths.size > 1) {
          throw new UserError(
            `${name}: count=adaptive makes ${[...lengths].join(' and ')} tokens of the pictures of one batch; ask about one picture at a time`,
          );
        }
        return { W: matrixOf(rows, source.patches), scores };
      },
    };
  },
});

export const pruMerge = describe(
  'prumerge',
  'merges into each patch that [CLS] attends to most those like it, and the rest into one token',
  topCentres,
);

export const pruMergePlus = describe(
  'prumerge+',
  'PruMerge with centres spread evenly over the picture besides the attended ones',
  spreadCentres,
);

/** The keys of all heads side by side, without [CLS]: [B, H, N, C] → [B, P, D]. */
function patchKeys(keys: tf.Tensor4D): tf.Tensor3D {
  return tf.tidy(() => {
    const side = mergeHeads(keys);
    const { B, N, D } = shape({ side }, 'B N D');
    return tf.slice(side, [0, 1, 0], [B, N - 1, D]);
  });
}

/** A token of each centre, and the last one of all others. */
function mergeInto(
  centres: readonly number[],
  a: Float32Array,
  similarity: Float32Array,
  neighbours: number,
): Row[] {
  const P = a.length;
  const weigh = (patches: readonly number[]) => patches.map((q): [number, number] => [q, a[q]]);
  const tokens = centres.map((centre) => {
    const alike = descending(similarity.subarray(centre * P, (centre + 1) * P)).filter((q) => q !== centre);
    return new Map([[centre, 1], ...weigh(alike.slice(0, neighbours))]);
  });
  return [...tokens, new Map(weigh(without(P, centres)))];
}
