/**
 * YOPO: leave the image tokens in place, but let them do less.
 * "Treat Visual Tokens as Text? But Your MLLM Only Needs Fewer Efforts to See", arXiv 2410.06169.
 *
 *     window   image → image attention only within a Chebyshev distance of (w − 1)/2 on the patch grid; w = 5
 *     heads    a head that is inactive in a layer attends to no image token
 *     ffn      image tokens use the first ⌊M/r⌋ of the M inner neurons; r = 2
 *     layer    from layer L′ on nothing attends to image tokens
 *
 * A head's activity in a sample is Σ attention(all → image) / Σ attention(all → text) (`measureHeads`, yopo-heads.ts); where it stays
 * below a threshold in nearly all samples the head is inactive, but for the first two layers (`nameInactiveHeads`).
 *
 * `mask` says how the parts withhold. Lines are of the released modeling_llama_prune.py and gen_mask_llava.py:
 *
 * | point | release (the default) | cut (ours) |
 * | --- | --- | --- |
 * | window | replaces the image's block of the mask: not causal inside it (858-859) | causal inside it too |
 * | inactive heads | attention to image keys times 0 after the softmax, not made to sum to 1 again, in decoding too (447-459); the whole output of such a head is 0 for image tokens (472-473) | masked before the softmax; a token always sees itself, so that no row is empty |
 * | layer L′ | the same zeros for every head (449-451): keys and values of the picture stay | the image tokens are cut, and the saving is had |
 * | active head | above the threshold in more than 40 of 400 samples (gen_mask 16-29) | the same |
 * | saving | counted, not had; the costs shown do not count it | the cut of layer L′ is had |
 * | fine-tuned with it | yes | no |
 *
 * The two differ: what `release` zeroes after the softmax still takes its share of a row, so text reads less of all else.
 *
 * The budget: with layer 0, L′ is the layer at which the mean of the picture's tokens over the layers is nearest to U, as
 * for VTW. The other three parts save no tokens and are the same under every budget: U = P is the full model only with all
 * four parts off. Heads are off by default: they belong to a checkpoint.
 */
import * as tf from '@tensorflow/tfjs-core';
import { imagePlaces } from '../decoder/cut.ts';
import type { LayerLimits, Role } from '../decoder/state.ts';
import { UserError } from '../errors.ts';
import { causalMask, MASKED } from '../tensor/attention.ts';
import { checkWhole } from './checks.ts';
import type { Method } from './method.ts';
import { gridOf } from './selected-layer.ts';
import { layerOfMean, withdrawBefore } from './vtw.ts';

export type YopoOptions = { window: number; heads: string; ffn: number; layer: number; mask: string };

export const yopo: Method<YopoOptions> = {
  name: 'yopo',
  paper: 'Treat Visual Tokens as Text? But Your MLLM Only Needs Fewer Efforts to See, arXiv 2410.06169',
  summary:
    'image tokens attend to neighbours only, use fewer heads and neurons, and leave in the deep layers',
  stages: ['between'],
  defaults: { window: 5, heads: '', ffn: 2, layer: 0, mask: 'release' },
  help: {
    window: { text: 'w, the odd side of the window that an image token sees of the picture; 0: all of it' },
    heads: { text: 'the heads that see no image token, as layer.head+layer.head; empty: none' },
    ffn: { text: 'r, image tokens use one r-th of the inner neurons; 1: all' },
    layer: {
      text: 'L′, the first decoder layer without the picture; 0: where the mean over the layers is U',
    },
    mask: {
      text: 'release: zeros after the softmax, as the released code; cut: before it, and the picture leaves at L′',
      choices: ['release', 'cut'],
    },
  },
  prepare(source, budget, { window, heads, ffn, layer, mask }) {
    const { decoderLayers: L, visualTokens: P } = source;
    checkWhole('yopo: layer', layer, 0, L, `the decoder has ${L} layers, and 0 leaves it to the budget`);
    if (window !== 0 && (!Number.isInteger(window) || window < 1 || window % 2 === 0)) {
      throw new UserError(`yopo: window=${window} is not an odd number of patches, or 0`);
    }
    if (window > 0) gridOf(source, 'yopo with a window');
    if (!(ffn >= 1)) throw new UserError(`yopo: ffn=${ffn} is not a ratio of 1 or more`);
    const inactive = parseHeads(heads, L);
    const last = layer || layerOfMean(L, budget, P); // L′
    const withhold = mask === 'cut' ? maskBefore : zeroAfter;
    return {
      words:
        mask === 'cut'
          ? { 'decoder.matrix.LL': `from layer ${last} on the picture is gone` }
          : {
              'decoder.hidden.LL': `in each the picture does less; from layer ${last} on no word looks at it`,
            },
      between() {
        const held: Role[][][] = []; // what each layer's cache begins with
        return {
          ...(mask === 'cut' ? withdrawBefore(last) : {}),
          limit(l, { roles }, past, { heads: H, neurons: M }) {
            if (past === 0) held[l] = roles;
            const beyond = inactive[l].find((h) => h >= H);
            if (beyond !== undefined) {
              throw new UserError(`yopo: heads names head ${beyond}, but a layer has ${H}`);
            }
            const off = Array.from({ length: H }, (_, h) => inactive[l].includes(h));
            const layerAhead = { roles, held: held[l], past, off, withdrawn: l >= last };
            if (past > 0 || !roles[0].includes('image')) return withhold(layerAhead, 0);
            return {
              ...withhold(layerAhead, window),
              neurons: ffn > 1 ? narrowImage(roles, M, Math.floor(M / ffn)) : undefined,
            };
          },
        };
      },
    };
  },
};

/** A layer that is to be run. */
interface LayerToRun {
  roles: Role[][]; // [B][T], of its new tokens
  held: Role[][]; // [B][T₀], of the tokens that it read first; what came after is text
  past: number;
  off: boolean[]; // [H], inactive
  withdrawn: boolean; // nothing attends to the picture any more
}

/** As released: attention to image keys times 0, the output of inactive heads 0 for image tokens. */
function zeroAfter({ roles, held, past, off, withdrawn }: LayerToRun, window: number): LayerLimits {
  const T = roles[0].length;
  const silent = withdrawn ? off.map(() => true) : off;
  return {
    mask: window > 0 ? windowMask(roles, window, false) : undefined,
    weights: silent.includes(true) ? zeroWhere(silent, keysOf(held, past + T)) : undefined,
    heads: off.includes(true)
      ? (tf.transpose(zeroWhere(off, roles), [0, 1, 3, 2]) as tf.Tensor4D)
      : undefined,
  };
}

/** Before the softmax: rows sum to 1 over what is left. The picture has been cut where it is withdrawn. */
function maskBefore({ roles, held, past, off }: LayerToRun, window: number): LayerLimits {
  const [T, Tk] = [roles[0].length, past + roles[0].length];
  const near = window > 0 ? windowMask(roles, window, true) : causalMask(T, Tk);
  if (!off.includes(true)) return window > 0 ? { mask: near as tf.Tensor4D } : {};
  const blind = tf.sub(1, zeroWhere(off, keysOf(held, Tk))); // [B, H, 1, Tk]
  const others = Array.from({ length: T }, (_, i) => Array.from({ length: Tk }, (_, j) => +(j !== past + i)));
  const mask: tf.Tensor4D = tf.mul(tf.mul(blind, tf.tensor4d([[others]])), MASKED);
  return { mask: near ? tf.add(near, mask) : mask }; // a sum of two is as good as −∞ too
}

/** Roles of all keys of a layer: those that it read first, then text. */
const keysOf = (held: Role[][], Tk: number): Role[][] =>
  held.map((row) => Array.from({ length: Tk }, (_, j) => row[j] ?? 'text'));

/** 0 where a head is silent and a token of the image, 1 elsewhere: [B, H, 1, T]. */
function zeroWhere(silent: boolean[], roles: Role[][]): tf.Tensor4D {
  const values = roles.map((row) => silent.map((off) => [row.map((role) => +!(off && role === 'image'))]));
  return tf.tensor4d(values);
}

/**
 * `2.0+2.5` → the heads 0 and 5 of layer 2, by layer.
 * @throws UserError for another form, or a layer that is not there
 */
export function parseHeads(text: string, layers: number): number[][] {
  const inactive: number[][] = Array.from({ length: layers }, () => []);
  for (const pair of text.split('+').filter((part) => part !== '')) {
    const match = /^(\d+)\.(\d+)$/.exec(pair);
    if (!match) throw new UserError(`yopo: heads=${text}: "${pair}" should be layer.head`);
    const [l, h] = match.slice(1).map(Number);
    if (l >= layers) throw new UserError(`yopo: heads=${text}: the decoder has ${layers} layers, from 0`);
    inactive[l].push(h);
  }
  return inactive;
}

/**
 * The causal mask with a window over the picture: image tokens see of the picture only what is near on the grid. A [CLS]
 * before the patches is in no grid, sees all and is seen by all.
 * @param causal whether a patch sees those before it alone
 * @returns [B, 1, T, T], 0 or {@link MASKED}
 */
function windowMask(roles: Role[][], window: number, causal: boolean): tf.Tensor4D {
  const [B, T] = [roles.length, roles[0].length];
  const values = new Float32Array(B * T * T);
  for (const [b, image] of imagePlaces(roles).entries()) {
    for (let i = 0; i < T; i++) values.fill(MASKED, (b * T + i) * T + i + 1, (b * T + i + 1) * T);
    const side = Math.floor(Math.sqrt(image.length));
    const patches = image.slice(image.length - side * side);
    for (const [p, i] of patches.entries()) {
      for (const [q, j] of patches.entries()) {
        const rows = Math.abs(Math.floor(p / side) - Math.floor(q / side));
        const columns = Math.abs((p % side) - (q % side));
        const sees = Math.max(rows, columns) <= (window - 1) / 2 && !(causal && j > i);
        values[(b * T + i) * T + j] = sees ? 0 : MASKED;
      }
    }
  }
  return tf.tensor4d(values, [B, 1, T, T]);
}

/** 1 where a token uses an inner neuron: text all of them, image tokens the first m. [B, T, M] */
function narrowImage(roles: Role[][], M: number, m: number): tf.Tensor3D {
  const text = roles.map((row) => row.map((role) => +(role === 'text')));
  const first = Array.from({ length: M }, (_, n) => +(n < m));
  return tf.tidy(() => tf.maximum(tf.expandDims(tf.tensor2d(text), 2), tf.tensor3d(first, [1, 1, M])));
}
