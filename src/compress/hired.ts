/**
 * HiRED on LLaVA-1.5: FasterVLM by another name.
 * "HiRED: Attention-Guided Token Dropping for Efficient Inference of High-Resolution VLMs", 2408.10945.
 *
 * HiRED is made for LLaVA-NeXT, which sees a thumbnail and crops of one picture: the first layer's [CLS] attention of
 * the thumbnail shares the budget out over the crops (α = .5), then each crop keeps its best by
 *
 *     s    = Σ over heads of attention[l][:, :, 0, 1:]         l the layer whose output is selected
 *
 * A picture seen whole, as here, has one share, all of U. What is left is this score, and the sum over heads ranks as
 * their mean does. Its own behaviour needs crops.
 */
import { fasterVlm } from './fastervlm.ts';
import type { Method } from './method.ts';

export const hired: Method = {
  ...fasterVlm,
  name: 'hired',
  paper:
    'HiRED: Attention-Guided Token Dropping for Efficient Inference of High-Resolution VLMs, arXiv 2408.10945',
  summary: 'on a picture without crops the same as fastervlm',
};
