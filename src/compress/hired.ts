/**
 * "HiRED: Attention-Guided Token Dropping for Efficient Inference of High-Resolution VLMs", 2408.10945.
 *
 * Made for LLaVA-NeXT, which sees a thumbnail and crops of one picture (image/views.ts). The thumbnail has the share α of the
 * budget; the first layer's [CLS] attention over it says how much of the rest each crop has; each view keeps its best by
 *
 *     w_v  = (1 − α) · Σ over heads and over the thumbnail's patches where crop v lies, of attention[0][:, :, 0, 1:]
 *     s    = Σ over heads of attention[l][:, :, 0, 1:]         l the layer whose output is selected
 *
 * What is more than a view has patches goes to the next by weight, so exactly U a view stays on average. A picture seen whole has
 * one share, all of U, and the sum over heads ranks as their mean does: FasterVLM by another name.
 */
import type { Views } from '../image/views.ts';
import { checkShare } from './checks.ts';
import { fasterVlm } from './fastervlm.ts';
import { readPictures } from './host.ts';
import type { Method } from './method.ts';
import { scoreByCls } from './score.ts';
import { checkCls } from './selected-layer.ts';
import { shareOut } from './views.ts';

/** Whose [CLS] attention shares the budget out. */
const firstLayer = 0;

export const hired: Method<{ thumbnail: number }> = {
  ...fasterVlm,
  name: 'hired',
  paper:
    'HiRED: Attention-Guided Token Dropping for Efficient Inference of High-Resolution VLMs, arXiv 2408.10945',
  summary:
    'shares the budget out over the crops by what the thumbnail attends to; without crops it is fastervlm',
  defaults: { thumbnail: 0.5 },
  help: { thumbnail: { text: 'α, the share of the budget that the thumbnail has, of a picture with crops' } },
  prepare(source, budget, { thumbnail }, resources) {
    checkShare('hired: thumbnail', thumbnail);
    checkCls(source, 'hired');
    return fasterVlm.prepare(source, budget, {}, resources);
  },
  share: (_, views, { thumbnail: alpha }) => ({
    layers: [firstLayer],
    async of({ clsAttention }, budget) {
      const [s] = await readPictures('hired.content', () => scoreByCls(clsAttention.get(firstLayer)!)); // [P]
      const content = contentOf(s, views);
      const all = content.reduce((sum, x) => sum + x, 0);
      const weights = [alpha, ...content.slice(1).map((x) => ((1 - alpha) * x) / all)];
      return shareOut(
        budget,
        weights,
        views.views.map(({ patches }) => patches.length),
      );
    },
  }),
};

/** How much of the thumbnail's attention each view has where it lies; the thumbnail itself 0. @param s of its G² patches */
export function contentOf(s: ArrayLike<number>, { grid: G, rows: R, columns: C, views }: Views): number[] {
  const viewAt = new Map(
    views.flatMap(({ places }, v) => (v === 0 ? [] : places.map((place) => [place, v] as const))),
  );
  const content = views.map(() => 0);
  for (let p = 0; p < G * G; p++) {
    // The crops' patch in which the middle of the thumbnail's lies: both show the whole picture.
    const r = Math.floor(((Math.floor(p / G) + 0.5) * R) / G);
    const c = Math.floor((((p % G) + 0.5) * C) / G);
    content[viewAt.get(G * G + r * C + c)!] += s[p];
  }
  return content;
}
