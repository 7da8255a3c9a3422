/**
 * VTC-CLS: keep the patches that the vision encoder's own [CLS] token attends to.
 * "[CLS] Token Tells Everything Needed for Training-free Efficient MLLMs", arXiv 2412.05819, THU-MIG/VTC-CLS.
 *
 *     a_l  = mean over heads of attention[l][:, :, 0, 1:]      [B, P], after the softmax, not renormalised
 *     s    = Σ a_l over the K layers that end with the selected one
 *     kept = sort(top-U of s)                                  raster order restored
 *     F'   = F[kept]                                           [B, U, D], then projected and spliced
 *
 * Of LLaVA-1.5's 24 layers, `hidden[-2]` is the output of layer 22: K = 3 sums layers 20, 21, 22; layer 23 never runs.
 *
 * | point | released code | here |
 * | --- | --- | --- |
 * | layers | `--layer 16` by default, so K = 7 | K is an option, 3 by default (the paper's choice; unverified) |
 * | ensemble | sum | sum by default; mean, max, min and rank-mean as options |
 * | heads | mean | mean |
 * | positions | contiguous | contiguous by default, original as an option of the run |
 * | projector | after pruning | after pruning |
 * | batch | 1 only | any |
 *
 * K = 1 is FasterVLM (2412.01818).
 */
import { UserError } from '../errors.ts';
import { ensembles, ensembleNames, type EnsembleName } from './ensemble.ts';
import { readPictures } from './host.ts';
import type { Method, Source } from './method.ts';
import { scoreByCls } from './score.ts';
import { clsLayer } from './selected-layer.ts';
import { keepBest } from './top-k.ts';

/** K, and how the K layers agree. */
export type VtcClsOptions = { layers: number; ensemble: EnsembleName };

/** The method that this project is about. */
export const vtcCls: Method<VtcClsOptions> = {
  name: 'vtc-cls',
  paper: '[CLS] Token Tells Everything Needed for Training-free Efficient MLLMs, arXiv 2412.05819',
  summary: 'keeps the patches that [CLS] attends to most, over the last K layers together',
  stages: ['before'],
  defaults: { layers: 3, ensemble: 'sum' },
  help: {
    layers: { text: 'K, how many layers score, ending with the one whose output is selected' },
    ensemble: { text: 'how the layers’ scores become one', choices: ensembleNames },
  },
  prepare(source, budget, { layers, ensemble }) {
    const needed = ensembledLayers(source, layers);
    return {
      words: {
        'compress.matrix': `s = ${ensemble} over layers ${needed.join(', ')} of the mean over heads; its top ${budget} stay`,
      },
      needs: { clsAttention: needed },
      async choose({ clsAttention }) {
        const rows = [...clsAttention.values()]; // K of [B, H, P]
        const s = await readPictures('compress.scores', () => ensembles[ensemble](rows.map(scoreByCls))); // [B, P]
        return keepBest(s, budget);
      },
    };
  },
};

/**
 * The K layers that end with the selected one.
 * @throws UserError when K is not between 1 and the layers up to it
 */
export function ensembledLayers(source: Source, K: number, method = 'vtc-cls'): number[] {
  const last = clsLayer(source, method);
  if (!Number.isInteger(K) || K < 1 || K > last + 1) {
    throw new UserError(
      `--layers ${K}: the ensemble ends at layer ${last}, so it can have 1 to ${last + 1} layers`,
    );
  }
  return Array.from({ length: K }, (_, i) => last + 1 - K + i);
}
