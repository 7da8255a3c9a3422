/**
 * Downsampling: no pruning at all; the same tower looks at a smaller picture. What any method that sees the whole picture
 * and then drops most of it has to beat.
 * "Are We Using the Right Benchmark: An Evaluation Framework for Visual Token Compression Methods" (VTC-Bench), arXiv
 * 2510.07143, Chenfei-Liao/VTC-Bench.
 *
 *     g      = √U, of G = √P patches a side
 *     pixels = the model's own [B, S, S, 3], bicubic with antialiasing, to [B, g·patch, g·patch, 3]
 *     x_0    = LayerNorm([class; patch₁·W; …; patch_U·W] + [p_cls; bicubic(p, G × G → g × g)])
 *     F'     = hidden[−2][:, 1:]                                 [B, U, D], in raster order
 *
 * | point | paper's code (qwen2_vl.py) | here |
 * | --- | --- | --- |
 * | model | Qwen2-VL, which takes pictures of any size | CLIP, whose table of positions is for one: interpolated, as transformers' `interpolate_pos_encoding=True` does |
 * | ratio | a side divided by 2, 3, 4, 5 or 10: U = P/4 … P/100 | U any square number up to P |
 * | what is resized | the picture's file, by Pillow's `BICUBIC`, then JPEG again | the preprocessed pixels, by the same cubic, not rounded |
 *
 * Like nothing else here it saves in the tower from the first layer on: (1 + U) tokens in place of (1 + P). It has no W: a
 * coarser patch is seen anew, not mixed from finer ones. What `vision.cells` tells is which patches lie under each. A tower
 * that was never shown small pictures may see them badly: that is in its figures. U = P changes nothing.
 */
import { UserError } from '../errors.ts';
import type { Method } from './method.ts';
import { gridOf } from './selected-layer.ts';

export const downsample: Method = {
  name: 'downsample',
  paper: 'Are We Using the Right Benchmark (VTC-Bench), arXiv 2510.07143',
  summary: 'shows the vision tower a smaller picture, of U patches; prunes nothing',
  stages: ['tower'],
  makesTokens: true,
  defaults: {},
  help: {},
  prepare(source, budget) {
    const [G, g] = [gridOf(source, 'downsample'), Math.floor(Math.sqrt(budget))];
    if (g ** 2 !== budget) {
      const [less, more] = [g, g + 1].map((side) => `${side ** 2} (${side} × ${side})`);
      throw new UserError(
        `downsample: ${budget} patches are no square picture; the nearest budgets are ${less} and ${more}`,
      );
    }
    return {
      words: {
        'vision.cells': `the picture at ${g} × ${g} patches, not ${G} × ${G}: how much of each lies under each`,
      },
      inTower: { grid: g },
    };
  },
};
