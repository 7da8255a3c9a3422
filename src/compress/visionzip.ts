/**
 * VisionZip: the most attended patches stay, the others gather around evenly spaced ones.
 * "VisionZip: Longer is Better but Not Necessary in Vision Language Models", 2412.04467.
 *
 *     s          = Σ over heads of attention[l][:, :, 0, 1:]   [B, P], l the layer whose output is selected
 *     dominant   = [CLS] itself and sort(top-(U − C − 1) of s), as they are;  C = round(U · contextual)
 *     rest       = the other patches, in raster order;  targets = every ⌊|rest| / C⌋-th of them, C in all
 *     m          = mean over heads of the keys of layer l; every other patch goes to the target with the largest
 *                  cos(m_p, m_t)
 *     token_t    = F_t + mean of the F assigned to t           the target alone where none is
 *     F'         = [dominant; contextual]                      [B, U, D]
 *
 * As the released code does it. It makes 64 tokens of 54 dominant ones, [CLS] and 53 patches (visionzip/main.py 6,
 * clip_encoder.py 54-57), and 10 contextual ones, and 128 and 192 in the same proportion. Where the checkpoint's own [CLS] goes to the decoder anyhow, give cls=drop: U patches are kept. New tokens: `kept` is absent, and U = P is
 * not the uncut model, for [CLS] takes a place and a contextual token is a sum, not a mean.
 */
import * as tf from '@tensorflow/tfjs-core';
import { shape } from '../tensor/axes.ts';
import { cosines } from '../tensor/similarity.ts';
import { keepToken, matrixOf, type Row } from '../tensor/token-matrix.ts';
import { checkShare } from './checks.ts';
import { argmax, descending, readPictures, without } from './host.ts';
import type { Method } from './method.ts';
import { clsLayer, onlyLayer } from './selected-layer.ts';

const ofCls = ['keep', 'drop'] as const;

export const visionZip: Method<{ contextual: number; cls: (typeof ofCls)[number] }> = {
  name: 'visionzip',
  paper: 'VisionZip: Longer is Better but Not Necessary in Vision Language Models, arXiv 2412.04467',
  summary:
    'keeps what [CLS] attends to most, [CLS] itself, and gathers the rest into a few tokens by their keys',
  stages: ['before'],
  makesTokens: true,
  defaults: { contextual: 10 / 64, cls: 'keep' },
  help: {
    contextual: { text: 'the share of U that is gathered from the rest, from 0 to 1' },
    cls: { text: 'whether [CLS] itself is one of the U tokens', choices: ofCls },
  },
  prepare(source, budget, { contextual, cls }) {
    checkShare('visionzip: contextual', contextual);
    const layer = clsLayer(source, 'visionzip');
    const first = cls === 'keep' ? 1 : 0;
    const C = Math.min(budget - first, Math.round(budget * contextual));
    return {
      words: {
        'compress.matrix': `${first ? '[CLS], ' : ''}the top ${budget - first - C} of s; the rest gathered into ${C} by their keys`,
      },
      needs: { clsAttention: [layer], keys: [layer] },
      takesCls: first === 1,
      async choose({ clsAttention, keys }) {
        const scores = await readPictures('compress.scores', () => tf.sum(onlyLayer(clsAttention), 1)); // s, [B, P]
        const similarities = await readPictures('similarity', () => cosines(meanKeys(onlyLayer(keys)))); // [B, P, P]
        const rows = scores.map(descending).map((order, b) => {
          const dominant = order.slice(0, budget - first - C).sort((p, q) => p - q);
          return [...dominant.map(keepToken), ...gatherRest(dominant, similarities[b], C)];
        });
        return { W: matrixOf(rows, source.patches), cls: first === 1, scores };
      },
    };
  },
};

/** m, without [CLS]: [B, H, N, C] → [B, P, C]. */
function meanKeys(keys: tf.Tensor4D): tf.Tensor3D {
  return tf.tidy(() => {
    const { B, N, C } = shape({ keys }, 'B H N C');
    return tf.slice(tf.mean<tf.Tensor3D>(keys, 1), [0, 1, 0], [B, N - 1, C]);
  });
}

/**
 * C tokens of what is not dominant.
 * @param similarity [P, P]
 */
function gatherRest(dominant: readonly number[], similarity: Float32Array, C: number): Row[] {
  const P = Math.sqrt(similarity.length);
  const rest = without(P, dominant);
  const stride = Math.floor(rest.length / C);
  const targets = Array.from({ length: C }, (_, i) => rest[i * stride]);
  const assigned = new Map(targets.map((target): [number, number[]] => [target, []]));
  for (const patch of rest) {
    if (C === 0 || assigned.has(patch)) continue;
    assigned.get(argmax(targets, (target) => similarity[patch * P + target]))!.push(patch);
  }
  return [...assigned].map(
    ([target, patches]) =>
      new Map([[target, 1], ...patches.map((p): [number, number] => [p, 1 / patches.length])]),
  );
}
