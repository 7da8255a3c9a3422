/**
 * A hybrid of our own: [CLS] attention picks, diversity fills. No paper.
 *
 *     s       = VTC-CLS's score, Σ over the K layers that end with the selected one
 *     chosen  = top-A of s,  A = round(U · share)
 *     next    = argmax over p of min over kept q of 1 − cos(Z_p, Z_q)          as DivPrune, until U are kept
 *     kept    = sort(them);  F' = F[kept]                                      Z = projector(F)
 *
 * Why: on published benchmarks [CLS] attention is ahead on questions about text, diversity on whether something is
 * there. share = 1 is VTC-CLS, share = 0 is DivPrune. VisPruner has the same thought and drops duplicates instead,
 * without looking at what attention has chosen. On the shipped model (bench/results/field.md) it is ahead of all others
 * where least is kept, 6 of 100 patches; with more it is as good as VisPruner, and DivPrune is ahead of both at 13.
 * Exactly U; U = P changes nothing.
 */
import * as tf from '@tensorflow/tfjs-core';
import { picking } from '../tensor/token-matrix.ts';
import { checkShare } from './checks.ts';
import { compareProjected } from './divprune.ts';
import { addDiverse } from './diversity.ts';
import { descending, readPictures } from './host.ts';
import type { Method } from './method.ts';
import { scoreByCls } from './score.ts';
import { ensembledLayers } from './vtc-cls.ts';

export const hybrid: Method<{ share: number; layers: number }> = {
  name: 'hybrid',
  paper: 'our own; VTC-CLS (2412.05819) and DivPrune (2503.02175) together',
  summary: 'keeps a share of patches by [CLS] attention, and those least like them',
  stages: ['before'],
  defaults: { share: 0.5, layers: 3 },
  help: {
    share: { text: 'the share of U that is chosen by attention, from 0 to 1' },
    layers: { text: 'K, how many layers score, ending with the one whose output is selected' },
  },
  prepare(source, budget, { share, layers }) {
    checkShare('hybrid: share', share);
    const chosen = Math.round(budget * share); // A
    const needed = ensembledLayers(source, layers, 'hybrid');
    return {
      words: {
        'compress.matrix': `the top ${chosen} of s over layers ${needed.join(', ')}, then ${budget - chosen} least like those that stay`,
      },
      needs: { clsAttention: needed },
      async choose(seen) {
        const rows = [...seen.clsAttention.values()];
        const scores = await readPictures('compress.scores', () => tf.addN(rows.map(scoreByCls))); // s, [B, P]
        const similarities = await compareProjected(seen);
        const choices = scores.map((s, b) =>
          addDiverse(similarities[b], descending(s).slice(0, chosen), budget),
        );
        return { W: picking(choices, source.patches), scores };
      },
    };
  },
};
