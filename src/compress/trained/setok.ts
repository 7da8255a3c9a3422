/**
 * SeTok: clusters of patches, and transformers that were trained to make a token of each.
 * "Towards Semantic Equivalence of Tokenization in Multimodal LLM", arXiv 2406.05127, ChocoWu/SeTok @ 55cfc9f.
 *
 *     x   = (F − mean)/deviation + sines and cosines of row and column                     [P, D]
 *     clusters of x by density peaks: centres are the top-U of γ, or every γ above a threshold   density-peaks.ts
 *     y   = inner(x), every patch among those of its cluster alone                         [P, D]
 *     W   = the mean over each cluster                                                     [U, P]
 *     F'  = inter(W·y)·W_out + b                                                           [U, D]
 *
 *     inner, inter:   twice x ← x + Attention(LN₁(x)), with one LN₁;  once x ← x + W₂·gelu(W₁·LN₂(x))
 *
 * | point | released code (src/model/setok/tokenizer.py, module.py) | here |
 * | --- | --- | --- |
 * | tower | SigLIP-so400m, layer −2; `[:, 1:]` drops its first patch, as if it were a [CLS] | the model's own, F |
 * | the tower's channels | as they are | standardised: in our tower means reach 67, deviations lie between 1.2 and 18 |
 * | density | k = 64 of 729 patches; noise of 1e-6 on ρ breaks ties | k an option, 5; of equals the lower index |
 * | how many | γ > threshold, .5 to .55; none passes: 64 | U, the budget; `threshold` above 0: the paper's |
 * | merger | per cluster, then the mean (the docstring's [CLS] from the centre is not there); heads 2, depth 2 | the same; all clusters at once, under a mask |
 * | inter encoder | gets [L, C] where it wants [B, N, C], and fails | with its batch axis |
 * | inner widths | 4096, which does not fit SigLIP's 1152 | D, and 2D in the MLPs; no dropout |
 * | trained by | a GAN's discriminator loss and InfoNCE; neither reaches a weight as released | LLaVA's two stages, train/systems/setok.ts |
 * | detokenizer | masks, a mapper and a ViT; no pixel head in the release | left out: nothing here draws with it |
 *
 * It brings the projector and the decoder that were trained with it. `dpc-knn` finds clusters alike, of plain
 * channels and without places, and takes their means.
 */
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../../errors.ts';
import { dense, norm, type Tree } from '../../io/weight-table.ts';
import { activations } from '../../tensor/activation.ts';
import { attend, MASKED, mergeHeads, splitHeads } from '../../tensor/attention.ts';
import { linear, type Linear } from '../../tensor/linear.ts';
import { layerNorm, type LayerNorm } from '../../tensor/norm.ts';
import { scope } from '../../tensor/scope.ts';
import { mixTokens, squaredDistances } from '../../tensor/similarity.ts';
import { denseOf, matrixOf, meanOf } from '../../tensor/token-matrix.ts';
import { checkWhole } from '../checks.ts';
import { clusterByDensity } from '../density-peaks.ts';
import { readPictures } from '../host.ts';
import {
  broughtBy,
  connectedTable,
  scaleTable,
  standardise,
  type ChannelScale,
  type ConnectedWeights,
  type TrainedSystem,
} from './system.ts';

/** Two attention layers under one norm, then one MLP. */
export interface SetokEncoder {
  norm1: LayerNorm;
  attention: { qkv: Linear; proj: Linear }[];
  norm2: LayerNorm;
  fc1: Linear;
  fc2: Linear;
}

/** The merger. */
export interface Merger {
  inner: SetokEncoder;
  inter: SetokEncoder;
  out: Linear;
}

/** What is trained. */
export interface SetokWeights extends ConnectedWeights {
  scale: ChannelScale;
  merger: Merger;
}

const [heads, depth, eps] = [2, 2, 1e-5];

const encoderTable = (name: string, D: number): Tree<SetokEncoder> => ({
  norm1: norm(`${name}.norm1`, D),
  attention: Array.from({ length: depth }, (_, i) => ({
    qkv: dense(`${name}.attention.${i}.qkv`, D, 3 * D),
    proj: dense(`${name}.attention.${i}.proj`, D, D),
  })),
  norm2: norm(`${name}.norm2`, D),
  fc1: dense(`${name}.fc1`, D, 2 * D),
  fc2: dense(`${name}.fc2`, 2 * D, D),
});

export const setok: TrainedSystem<SetokWeights, { neighbours: number; threshold: number }> = {
  name: 'setok',
  paper: 'Towards Semantic Equivalence of Tokenization in Multimodal LLM (SeTok), arXiv 2406.05127',
  summary: 'clusters patches around dense ones, and makes a token of each cluster by trained transformers',
  stages: ['before'],
  makesTokens: true,
  defaults: { neighbours: 5, threshold: 0 },
  help: {
    neighbours: { text: 'k, how many nearest patches tell how dense it is around one' },
    threshold: {
      text: 'γ that a centre must exceed, so that the picture sets the number of tokens; 0: U of them',
    },
  },
  table: ({ vision: { hidden_size: D }, ...model }) => ({
    scale: scaleTable(D),
    merger: {
      inner: encoderTable('merger.inner', D),
      inter: encoderTable('merger.inter', D),
      out: dense('merger.out', D, D),
    },
    ...connectedTable(model),
  }),
  prepare(trained, { patches: P, grid, featureLayers }, budget, { neighbours, threshold }) {
    const { weights } = trained;
    checkWhole('setok: neighbours', neighbours, 1);
    if (!(threshold >= 0)) throw new UserError(`setok: threshold=${threshold} is below 0`);
    if (grid === undefined) throw new UserError('setok: it needs the whole grid of patches');
    if (featureLayers.length > 1) {
      throw new UserError(`setok merges patches of one layer, and this model joins ${featureLayers.length}`);
    }
    const count = threshold > 0 ? { above: threshold, otherwise: budget } : budget;
    const places = [...Array(P).keys()];
    return {
      words: {
        'compress.matrix': 'clusters around dense patches, each a token of what trained layers make of it',
      },
      leaves: threshold > 0 ? 'varies' : budget,
      async choose({ F }) {
        using own = scope();
        const x = own(placePatches(own(standardise(F, weights.scale)), places, grid));
        const clusters = (await readPictures('distance', () => distances(x))).map((d2) =>
          clusterByDensity(Float64Array.from(d2), neighbours, count),
        );
        if (new Set(clusters.map(({ length }) => length)).size > 1) {
          const counts = clusters.map(({ length }) => length).join(', ');
          throw new UserError(
            `setok: the pictures of a batch have ${counts} clusters: one picture at a time`,
          );
        }
        const W = matrixOf(clusters.map((groups) => groups.map(meanOf)), P); // prettier-ignore
        const means = own(denseOf(W));
        return { W, tokens: mergeClusters(weights.merger, x, means) };
      },
      brings: broughtBy(trained),
    };
  },
};

/** d², [B, P, P], per channel. */
export const distances = (x: tf.Tensor3D): tf.Tensor3D =>
  tf.tidy(() => tf.div(squaredDistances(x), x.shape[2]));

/**
 * Features and where each patch stands: of c = 2·⌈D/4⌉ channels for the row and as many for the column, channel 2i and 2i + 1
 * are sine and cosine of place·10000^(−2i/c).
 * @param F [B, P, D]
 * @param places of the P patches in a grid of `grid` a side
 * @returns x [B, P, D]
 */
export function placePatches(F: tf.Tensor3D, places: readonly number[], grid: number): tf.Tensor3D {
  return tf.tidy(() => {
    const D = F.shape[2];
    const c = 2 * Math.ceil(D / 4);
    const wave = (place: number, i: number) => {
      const angle = place * 10000 ** (-(i - (i % 2)) / c);
      return i % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
    };
    const rows = places.map((p) =>
      Array.from({ length: D }, (_, i) => (i < c ? wave(Math.floor(p / grid), i) : wave(p % grid, i - c))),
    );
    return tf.add(F, tf.tensor2d(rows));
  });
}

/**
 * A token of each cluster.
 * @param x [B, P, D]
 * @param W [B, U, P], the mean over each cluster; every patch is in one
 * @returns [B, U, D]
 */
export function mergeClusters({ inner, inter, out }: Merger, x: tf.Tensor3D, W: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => {
    const [B, , P] = W.shape;
    const member: tf.Tensor3D = tf.cast(tf.greater(W, 0), 'float32'); // [B, U, P]
    const together = mixTokens(tf.transpose(member, [0, 2, 1]), member); // [B, P, P], 1 for two of one cluster
    const apart = tf.mul(tf.sub(1, tf.reshape(together, [B, 1, P, P])), MASKED);
    return linear(out, runEncoder(inter, mixTokens(W, runEncoder(inner, x, apart as tf.Tensor4D))));
  });
}

/** @param x [B, N, D] @param mask [B, 1, N, N] */
export function runEncoder(
  { norm1, attention, norm2, fc1, fc2 }: SetokEncoder,
  x: tf.Tensor3D,
  mask?: tf.Tensor4D,
): tf.Tensor3D {
  return tf.tidy(() => {
    for (const { qkv, proj } of attention) {
      const [q, k, v] = tf
        .split<tf.Tensor3D>(linear(qkv, layerNorm(norm1, x, eps)), 3, 2)
        .map((y) => splitHeads(y, heads));
      x = tf.add(x, linear(proj, mergeHeads(attend(q, k, v, { mask }).context)));
    }
    return tf.add(x, linear(fc2, activations.gelu(linear(fc1, layerNorm(norm2, x, eps)))));
  });
}
