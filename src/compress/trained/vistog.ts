/**
 * VisToG: learned tokens look at the picture beside CLIP's own, and patches join the one that they are most like.
 * "Efficient Multi-modal Large Language Models via Visual Token Grouping", arXiv 2411.17773. No code was found.
 *
 *     g   = U semantic tokens through the tower beside its own, under the isolated mask      [U, D]     vision/beside.ts
 *     F, g ← (F − mean)/deviation, (g − mean)/deviation      channel by channel; 0 and 1 in the shipped weights
 *     z   = (W_q·LN(g))·(W_k·LN(F))ᵀ / √D                                                    [U, P]
 *     A   = one-hot over U of argmax z            each patch to one group;  n_u = Σ_p A_up
 *     W   = A / n                                 a row of nothing where a group is empty    [U, P]
 *     t   = g + W_o·(W·(W_v·LN(F)))
 *     F'  = t + W₂·gelu(W₁·LN(t))                                                            [U, D]
 *
 * | point | paper (abstract, figure 1, three reviews) | here |
 * | --- | --- | --- |
 * | the tower's channels | as they are | as they are, or standardised as the weights say |
 * | semantic tokens | behind the patch embedding, isolated: patches and [CLS] never attend to them | the same, so patches are bit-equal |
 * | whether they attend to each other; their positions | unsaid | they do; they have none |
 * | grouping layer | before the projector, one-hot by Gumbel-softmax over query-key similarity, straight-through | GroupViT's block, which the paper builds on, with W a mean; there A / (n + 1) |
 * | U | from 64 of 576 | 25 and 13 of 100, each its own semantic tokens; one grouping layer, projector and decoder for both |
 * | at inference | argmax, no noise | the same; of equals the lower group |
 * | trained | two stages of LLaVA-1.5: alignment, then grouping layer, connector and LLM; what in stage 1 is unsaid | train/systems/vistog.ts |
 *
 * It brings the projector and the decoder that were trained with it. F' is more than W·F: W says which patches a token is of.
 */
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../../errors.ts';
import { dense, norm, table } from '../../io/weight-table.ts';
import { activations } from '../../tensor/activation.ts';
import { linear, type Linear } from '../../tensor/linear.ts';
import { layerNorm, type LayerNorm } from '../../tensor/norm.ts';
import { scope } from '../../tensor/scope.ts';
import { mixTokens } from '../../tensor/similarity.ts';
import { denseOf, matrixOf, meanOf, type Row } from '../../tensor/token-matrix.ts';
import { argmax, readPictures } from '../host.ts';
import {
  broughtBy,
  connectedTable,
  scaleTable,
  standardise,
  type ChannelScale,
  type ConnectedWeights,
  type TrainedSystem,
} from './system.ts';

/** The numbers of groups that there are semantic tokens for. */
export const groupCounts = [13, 25] as const;
/** One of {@link groupCounts}. */
export type GroupCount = (typeof groupCounts)[number];

/** The grouping layer. */
export interface Grouping {
  norm_tokens: LayerNorm;
  norm_patches: LayerNorm;
  query: Linear;
  key: Linear;
  value: Linear;
  out: Linear;
  norm_mlp: LayerNorm;
  fc1: Linear;
  fc2: Linear;
}

/** What is trained. */
export interface VistogWeights extends ConnectedWeights {
  tokens: Record<GroupCount, tf.Tensor2D>; // [U, D] each
  scale: ChannelScale;
  grouping: Grouping;
}

const eps = 1e-5;

export const vistog: TrainedSystem<VistogWeights, Record<string, never>> = {
  name: 'vistog',
  paper: 'Efficient Multi-modal Large Language Models via Visual Token Grouping (VisToG), arXiv 2411.17773',
  summary:
    'learned tokens look at the picture, and each patch joins the one it is most like; trained with the decoder',
  stages: ['before'],
  makesTokens: true,
  defaults: {},
  help: {},
  table: ({ vision: { hidden_size: D }, ...model }) => ({
    tokens: { 13: table('tokens.13', 13, D), 25: table('tokens.25', 25, D) },
    scale: scaleTable(D),
    grouping: {
      norm_tokens: norm('grouping.norm_tokens', D),
      norm_patches: norm('grouping.norm_patches', D),
      query: dense('grouping.query', D, D, false),
      key: dense('grouping.key', D, D, false),
      value: dense('grouping.value', D, D, false),
      out: dense('grouping.out', D, D),
      norm_mlp: norm('grouping.norm_mlp', D),
      fc1: dense('grouping.fc1', D, 2 * D),
      fc2: dense('grouping.fc2', 2 * D, D),
    },
    ...connectedTable(model),
  }),
  prepare(trained, { patches: P, featureLayers, selectedLayer }, budget) {
    const { weights } = trained;
    const U = groupCounts.find((count) => count === budget);
    if (!U)
      throw new UserError(
        `vistog: a budget of ${budget}; it has semantic tokens for ${groupCounts.join(' or ')}`,
      );
    if (featureLayers.length > 1) {
      throw new UserError(`vistog groups patches of one layer, and this model joins ${featureLayers.length}`);
    }
    const layers = selectedLayer + 1;
    return {
      words: { 'compress.matrix': `${U} groups: each patch with the semantic token that it is most like` },
      needs: { hidden: [...Array(layers).keys()] },
      async choose({ F: features, beside }) {
        using own = scope();
        const F = own(standardise(features, weights.scale));
        const g = own(standardise(own(beside!(weights.tokens[U], layers)), weights.scale));
        const z = await readPictures('vistog.similarity', () => compareGroups(weights.grouping, g, F)); // [B][U·P]
        const W = matrixOf(z.map((picture) => assign(picture, U, P)), P); // prettier-ignore
        const means = own(denseOf(W));
        return { W, tokens: mergeGroups(weights.grouping, g, F, means) };
      },
      brings: broughtBy(trained),
    };
  },
};

/**
 * How alike patches and semantic tokens are.
 * @param g [B, U, D]
 * @param F [B, P, D]
 * @returns z [B, U, P]
 */
export function compareGroups(
  { norm_tokens, norm_patches, query, key }: Grouping,
  g: tf.Tensor3D,
  F: tf.Tensor3D,
) {
  return tf.tidy((): tf.Tensor3D => {
    const q = linear(query, layerNorm(norm_tokens, g, eps));
    const k = linear(key, layerNorm(norm_patches, F, eps));
    return tf.mul(mixTokens(q, tf.transpose(k, [0, 2, 1])), 1 / Math.sqrt(F.shape[2]));
  });
}

/** Each patch to its likeliest group, the first of equals. @param z [U·P] of one picture @returns U rows of W */
function assign(z: Float32Array, U: number, P: number): Row[] {
  const groups = Array.from({ length: U }, (): number[] => []);
  const all = [...groups.keys()];
  for (let p = 0; p < P; p++) groups[argmax(all, (u) => z[u * P + p])].push(p);
  return groups.map(meanOf);
}

/**
 * The tokens that groups become.
 * @param g [B, U, D]
 * @param F [B, P, D]
 * @param W [B, U, P], rows that sum to 1, or to 0 where a group is empty
 * @returns [B, U, D]
 */
export function mergeGroups(
  { norm_patches, value, out, norm_mlp, fc1, fc2 }: Grouping,
  g: tf.Tensor3D,
  F: tf.Tensor3D,
  W: tf.Tensor3D,
): tf.Tensor3D {
  return tf.tidy(() => {
    const v = linear(value, layerNorm(norm_patches, F, eps)); // [B, P, D]
    const t = tf.add<tf.Tensor3D>(g, linear(out, mixTokens(W, v)));
    return tf.add(t, linear(fc2, activations.gelu(linear(fc1, layerNorm(norm_mlp, t, eps)))));
  });
}
