/**
 * VisPruner: a share by [CLS] attention, the rest by dropping duplicates.
 * "Beyond Text-Visual Attention: Exploiting Visual Cues for Effective Token Pruning in VLMs", 2412.01818v2.
 *
 *     order     = patches by [CLS] attention of the selected layer, head mean, the most attended first
 *     important = order[.. I],  I = ⌊U · share⌋
 *     rest      = order[I ..];  until U − I of it are left:
 *                   a, b = rest[0, 2, 4, …], rest[1, 3, 5, …]
 *                   of a drop the up to 8 with the largest max over b of cos(F_a, F_b)
 *                   rest = [a that stay, the most duplicated first; b]
 *     kept      = sort(important ∪ rest);  F' = F[kept]
 *
 * As the released code does it, its order inside `rest` included (the paper leaves it open), but for odd lengths,
 * on which the code stops. Its shares are .5 and .75. A share of 1 is FasterVLM. Exactly U; U = P changes nothing.
 */
import { cosines } from '../tensor/similarity.ts';
import { picking } from '../tensor/token-matrix.ts';
import { checkShare } from './checks.ts';
import { descending, readPictures } from './host.ts';
import type { Method } from './method.ts';
import { scoreByCls } from './score.ts';
import { clsLayer, onlyLayer } from './selected-layer.ts';

/** At most so many duplicates go before the rest is paired anew. */
const dropsAtOnce = 8;

export const visPruner: Method<{ share: number }> = {
  name: 'vispruner',
  paper:
    'Beyond Text-Visual Attention: Exploiting Visual Cues for Effective Token Pruning, arXiv 2412.01818v2',
  summary: 'keeps a share of patches by [CLS] attention, and of the rest those that are no duplicates',
  stages: ['before'],
  defaults: { share: 0.5 },
  help: { share: { text: 'the share of U that is chosen by attention, from 0 to 1' } },
  prepare(source, budget, { share }) {
    checkShare('vispruner: share', share);
    const important = Math.floor(budget * share); // I
    return {
      words: {
        'compress.matrix': `the top ${important} of s, then the rest without duplicates down to ${budget - important}`,
      },
      needs: { clsAttention: [clsLayer(source, 'vispruner')] },
      async choose({ F, clsAttention }) {
        const scores = await readPictures('compress.scores', () => scoreByCls(onlyLayer(clsAttention)));
        const similarities = await readPictures('similarity', () => cosines(F)); // [B, P, P]
        const choices = scores
          .map(descending)
          .map((order, b) => [
            ...order.slice(0, important),
            ...dropDuplicates(order.slice(important), similarities[b], budget - important),
          ]);
        return { W: picking(choices, source.patches), scores };
      },
    };
  },
};

/**
 * @param rest patches, paired by their places in this order
 * @param similarity [P, P]
 * @returns `count` of them
 */
function dropDuplicates(rest: number[], similarity: Float32Array, count: number): number[] {
  if (count === 0) return [];
  const P = Math.sqrt(similarity.length);
  while (rest.length > count) {
    const a = rest.filter((_, i) => i % 2 === 0);
    const b = rest.filter((_, i) => i % 2 === 1);
    const duplication = Float32Array.from(a, (p) => Math.max(...b.map((q) => similarity[p * P + q])));
    const drops = Math.min(dropsAtOnce, rest.length - count);
    const stay = descending(duplication).slice(drops);
    rest = [...stay.map((i) => a[i]), ...b];
  }
  return rest;
}
