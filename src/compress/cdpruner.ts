/**
 * CDPruner: keep the patches that are least alike, weighted by what the question is about.
 * "Beyond Attention or Similarity: Maximizing Conditional Diversity for Token Pruning in MLLMs", 2506.10967.
 *
 *     c_p  = cos(W_v·LN(F_p), text(question))                    CLIP's own space; the text tower reads the question
 *     r_p  = (max c − c_p + 1e-6) / (max c − min c)              relevance: the *lower* the cosine, the higher
 *     L_pq = r_p · cos(Z_p, Z_q) · r_q                           Z = projector(F)
 *     kept = the U patches of the largest determinant of L, greedily (fast MAP of a DPP, Chen et al., 1709.05135)
 *     F'   = F[kept]
 *
 * Sign and 1e-6 are the released code's, from which this differs in three things: c is scaled picture by picture and
 * not over the batch; a question longer than the text tower reads is refused, where theirs is cut into pieces whose
 * cosines are averaged; and where L has no more rank to give, the more relevant goes first, where theirs goes on with
 * residuals that are rounding, and takes the root of what may be negative.
 * Exactly U; U = P changes nothing.
 */
import { UserError } from '../errors.ts';
import { picking } from '../tensor/token-matrix.ts';
import { compareProjected } from './divprune.ts';
import { argmax, readPictures, without } from './host.ts';
import type { Method } from './method.ts';
import { oneFeatureLayer } from './selected-layer.ts';

export const cdPruner: Method = {
  name: 'cdpruner',
  paper:
    'Beyond Attention or Similarity: Maximizing Conditional Diversity for Token Pruning in MLLMs, arXiv 2506.10967',
  summary: 'keeps the patches that are least alike, weighted by the question; needs CLIP’s text tower',
  stages: ['before'],
  resources: ['questions'],
  defaults: {},
  help: {},
  prepare(source, budget, _, { questions }) {
    oneFeatureLayer(source, 'cdpruner');
    if (!questions) throw new UserError(`cdpruner: ${needsClip}`);
    return {
      words: {
        'compress.matrix': `the ${budget} patches least alike, each weighed by how near the question it is`,
      },
      async choose(seen) {
        const { compare } = seen;
        if (!compare) throw new UserError(`cdpruner: ${needsClip}`);
        const c = await readPictures('relevance', () => compare(questions)); // [B, P]
        const relevance = c.map(scaleRelevance); // r
        const similarities = await compareProjected(seen);
        const choices = similarities.map((similarity, b) =>
          chooseByDeterminant(similarity, relevance[b], budget),
        );
        return { W: picking(choices, source.patches) };
      },
    };
  },
};

const needsClip =
  "the question is read by CLIP's text tower: name a CLIP of the same vision tower with --clip";

/** r; 1 for all where no patch is closer to the question than another. */
export function scaleRelevance(cosines: Float32Array): Float64Array {
  const [least, most] = [Math.min(...cosines), Math.max(...cosines)];
  return Float64Array.from(cosines, (c) => (most > least ? (most - c + 1e-6) / (most - least) : 1));
}

/**
 * The greedy choice of U patches by det(L), which needs no determinant: with L = C·Cᵀ grown row by row, each patch's
 * residual d² = L_pp − |C_p|² is the factor by which it would multiply the determinant of those kept.
 * @param similarity [P, P] of one picture
 */
export function chooseByDeterminant(similarity: Float32Array, relevance: Float64Array, U: number): number[] {
  const P = relevance.length;
  const L = (p: number, q: number) => relevance[p] * similarity[p * P + q] * relevance[q];
  const residual = relevance.map((_, p) => L(p, p)); // d²
  const rows: Float64Array[] = []; // of Cᵀ
  const kept: number[] = [];
  while (kept.length < U) {
    const left = without(P, kept);
    const most = argmax(left, (p) => residual[p]);
    const next = residual[most] > 0 ? most : argmax(left, (p) => relevance[p]);
    kept.push(next);
    const d = Math.sqrt(residual[next]);
    const row = relevance.map((_, p) =>
      d > 0 ? (L(next, p) - rows.reduce((sum, c) => sum + c[next] * c[p], 0)) / d : 0,
    );
    rows.push(row);
    for (let p = 0; p < P; p++) {
      residual[p] -= row[p] ** 2;
      if (residual[p] < rounding * L(p, p)) residual[p] = 0;
    }
  }
  return kept;
}

/** Cosines come in float32, so a residual below this share of L_pp says nothing. */
const rounding = 1e-6;
