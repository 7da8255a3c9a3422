/**
 * ToMe: in every layer of the vision tower, the tokens that are most alike become one.
 * "Token Merging: Your ViT But Faster", 2210.09461.
 *
 * In layer l, between attention and MLP, of N tokens that stand for s patches each:
 *
 *     m      = mean over heads of the layer's keys                     [B, N, C]
 *     a, b   = tokens 0, 2, 4, …; tokens 1, 3, 5, …                    [CLS] is token 0 and never merges
 *     each a is matched to the b with the largest cos(m_a, m_b); the r best matches merge
 *     x      = Σ s·x / Σ s over the tokens that become one;  s = Σ s
 *     A      = softmax(Q·Kᵀ/√C + log s) from the next layer on         proportional attention
 *
 * The paper merges r tokens in each layer. Here the budget fixes their sum, P − U over the layers up to the selected
 * one, shared out as evenly as can be: at least half of a layer's tokens stay, so L layers keep at least P / 2ᴸ, and a
 * smaller budget is refused. The code leaves the unmerged a before all b; here tokens go back to raster order, which
 * the decoder reads, and by which the next layer splits them. The method runs inside the tower (vision/tower.ts), so
 * it makes the tower cheaper too. Exactly U new tokens; the sum of s·x over a layer's tokens stays. U = P changes
 * nothing.
 */
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { cosines } from '../tensor/similarity.ts';
import { matrixOf, type TokenMatrix } from '../tensor/token-matrix.ts';
import type { TowerView } from '../vision/tower.ts';
import { argmax, descending, readPictures } from './host.ts';
import type { Method } from './method.ts';
import { clsLayer, oneFeatureLayer } from './selected-layer.ts';

export const tome: Method = {
  name: 'tome',
  paper: 'Token Merging: Your ViT But Faster, arXiv 2210.09461',
  summary: 'merges the tokens that are most alike, some in every layer of the vision tower',
  stages: ['tower'],
  makesTokens: true,
  means: true,
  defaults: {},
  help: {},
  prepare(source, budget) {
    oneFeatureLayer(source, 'tome');
    const layers = clsLayer(source, 'tome') + 1;
    const least = Math.ceil(source.patches / 2 ** layers);
    if (budget < least) {
      throw new UserError(
        `tome: ${layers} layers merge ${source.patches} patches to ${least} at least, not to ${budget}`,
      );
    }
    return {
      words: {
        'vision.matrix.LL': `every second patch may merge with the one whose key is most like its own; ${budget} are left at the end`,
      },
      async inTower(layer, { keys, sizes }) {
        const r = countMerges(sizes[0].length - 1, budget, layers - layer);
        return r === 0 ? undefined : mergeAlike(keys, sizes, r);
      },
    };
  },
};

/**
 * How many merge now: an even share of what is left to merge, but as many as needed for later halvings to reach U.
 * @param n tokens, without [CLS]
 * @param layers left, this one included
 */
export function countMerges(n: number, U: number, layers: number): number {
  return Math.max(Math.ceil((n - U) / layers), n - U * 2 ** (layers - 1));
}

/** W of the r best matches of each picture, by its patches: what was made of more patches weighs more. */
export async function mergeAlike(
  keys: tf.Tensor4D,
  sizes: TowerView['sizes'],
  r: number,
): Promise<TokenMatrix> {
  const similarities = await readPictures('similarity', () => cosines(tf.mean<tf.Tensor3D>(keys, 1))); // [B, N, N]
  const rows = similarities.map((similarity, b) => {
    const members = new Map<number, number[]>(); // by the token that stays
    for (const [token, home] of matchTokens(similarity, r).entries()) {
      if (token > 0) members.set(home, [...(members.get(home) ?? []), token]);
    }
    const stay = [...members].sort(([s], [t]) => s - t);
    return stay.map(([, tokens]) => {
      const total = tokens.reduce((sum, token) => sum + sizes[b][token], 0);
      return new Map(tokens.map((token) => [token - 1, sizes[b][token] / total])); // [CLS] is no patch
    });
  });
  return matrixOf(rows, sizes[0].length - 1);
}

/**
 * Bipartite soft matching.
 * @param similarity [N, N]
 * @returns for each token the one it becomes part of: itself, but for r
 */
function matchTokens(similarity: Float32Array, r: number): number[] {
  const N = Math.sqrt(similarity.length);
  const into = Array.from({ length: N }, (_, token) => token);
  const a = into.filter((token) => token % 2 === 0 && token > 0);
  const b = into.filter((token) => token % 2 === 1);
  const match = a.map((i) => argmax(b, (j) => similarity[i * N + j]));
  const best = descending(Float32Array.from(a, (i, k) => similarity[i * N + match[k]]));
  for (const k of best.slice(0, r)) into[a[k]] = match[k];
  return into;
}
