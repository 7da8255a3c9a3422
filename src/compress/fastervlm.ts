/**
 * FasterVLM: keep the patches that [CLS] attends to in one layer.
 * "[CLS] Attention is All You Need for Training-Free Visual Token Pruning: Make VLM Inference Faster", 2412.01818.
 *
 *     s    = mean over heads of attention[l][:, :, 0, 1:]      [B, P], l the layer whose output is selected
 *     kept = sort(top-U of s)
 *     F'   = F[kept]
 *
 * It is VTC-CLS with an ensemble of one layer. Paper and released code agree: layer −2 of CLIP, whose output LLaVA
 * takes, mean over heads, raster order restored. Exactly U; U = P changes nothing.
 */
import { readPictures } from './host.ts';
import type { Method } from './method.ts';
import { scoreByCls } from './score.ts';
import { clsLayer, onlyLayer } from './selected-layer.ts';
import { keepBest } from './top-k.ts';

export const fasterVlm: Method = {
  name: 'fastervlm',
  paper: '[CLS] Attention is All You Need for Training-Free Visual Token Pruning, arXiv 2412.01818',
  summary: 'keeps the patches that [CLS] attends to most in the selected layer',
  stages: ['before'],
  defaults: {},
  help: {},
  prepare: (source, budget) => ({
    words: { 'compress.matrix': `s = the mean over heads; its top ${budget} stay` },
    needs: { clsAttention: [clsLayer(source, 'fastervlm')] },
    async choose({ clsAttention }) {
      const s = await readPictures('compress.scores', () => scoreByCls(onlyLayer(clsAttention))); // [B, P]
      return keepBest(s, budget);
    },
  }),
};
