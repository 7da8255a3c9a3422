/**
 * HiRED's score: the [CLS] attention of the selected layer, summed over heads.
 * "HiRED: Attention-Guided Token Dropping for Efficient Inference of High-Resolution VLMs", 2408.10945.
 *
 *     s    = Σ over heads of attention[l][:, :, 0, 1:]         [B, P], l the layer whose output is selected
 *     kept = sort(top-U of s)
 *     F'   = F[kept]
 *
 * HiRED is made for LLaVA-NeXT, which sees a thumbnail and crops of one picture: the first layer's [CLS] attention of
 * the thumbnail shares the budget out over the crops (α = .5), then each crop keeps its best by s. A picture seen
 * whole, as here, has one share, all of U, and what is left of HiRED is this score. The sum ranks as the mean does, so
 * it keeps what FasterVLM keeps. Exactly U; U = P changes nothing.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { VisionMethod } from './method.ts';
import { onlyLayer, selectedLayer } from './selected-layer.ts';
import { keepBest } from './top-k.ts';

export const hired: VisionMethod = {
  name: 'hired',
  paper:
    'HiRED: Attention-Guided Token Dropping for Efficient Inference of High-Resolution VLMs, arXiv 2408.10945',
  summary: 'keeps the patches that the heads’ [CLS] attention adds up to most; of HiRED, the score',
  where: 'vision',
  defaults: {},
  help: {},
  asks: (source) => ({ clsAttention: [selectedLayer(source, 'hired')] }),
  run: (features, budget) => keepBest(features, tf.sum(onlyLayer(features.clsAttention), 1), budget),
};
