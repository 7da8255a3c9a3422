/**
 * YOPO: leave the image tokens in place, but let them do less.
 * "Treat Visual Tokens as Text? But Your MLLM Only Needs Fewer Efforts to See", arXiv 2410.06169.
 *
 *     window   image → image attention only within a Chebyshev distance of (w − 1)/2 on the patch grid; w = 5
 *     heads    a head that is inactive in a layer attends to no image token
 *     ffn      image tokens use the first ⌊M/r⌋ of the M inner neurons; r = 2
 *     layer    from layer L′ on nothing attends to image tokens
 *
 * A head's activity is Σ attention(text → image) / Σ attention(text → text) over a calibration set
 * ({@link measureHeads}); below a threshold it is inactive, but for the first two layers ({@link nameInactiveHeads}).
 *
 * | point | released code | here |
 * | --- | --- | --- |
 * | window, heads, ffn | masks: the saving is counted, not had | masks too; the costs shown do not count it |
 * | inactive heads | masked | masked before the softmax; a token always sees itself, so that no row is empty |
 * | layer L′ | masked; 20 of 40 | the image tokens are cut: what reads the answer is the same, and the saving is had |
 * | fine-tuned with it | yes | no |
 *
 * The budget: with layer 0, L′ is the layer at which the mean of the picture's tokens over the layers is nearest to U, as
 * for VTW; so layers 0 .. L′ − 1 hold P image tokens and the others none. The other three parts save no tokens and are
 * the same under every budget: U = P is the full model only with all four parts off. Heads are off by default: they
 * belong to a checkpoint.
 */
import * as tf from '@tensorflow/tfjs-core';
import { createCache, disposeCache } from '../decoder/cache.ts';
import { runLlama, type Llama } from '../decoder/llama.ts';
import { createRope } from '../decoder/rope.ts';
import type { DecoderInput, LayerHook, Role } from '../decoder/state.ts';
import { UserError } from '../errors.ts';
import { MASKED } from '../tensor/attention.ts';
import { shape } from '../tensor/axes.ts';
import type { Trace } from '../tensor/trace.ts';
import { checkBudget, checkWhole } from './checks.ts';
import { imagePlaces } from './image-tokens.ts';
import type { DecoderMethod } from './method.ts';
import { layerOfMean, withdrawBefore } from './vtw.ts';

export type YopoOptions = { window: number; heads: string; ffn: number; layer: number };

export const yopo: DecoderMethod<YopoOptions> = {
  name: 'yopo',
  paper: 'Treat Visual Tokens as Text? But Your MLLM Only Needs Fewer Efforts to See, arXiv 2410.06169',
  summary:
    'image tokens attend to neighbours only, use fewer heads and neurons, and leave in the deep layers',
  where: 'decoder',
  positions: 'original',
  defaults: { window: 5, heads: '', ffn: 2, layer: 0 },
  help: {
    window: { text: 'w, the odd side of the window that an image token sees of the picture; 0: all of it' },
    heads: { text: 'the heads that see no image token, as layer.head+layer.head; empty: none' },
    ffn: { text: 'r, image tokens use one r-th of the inner neurons; 1: all' },
    layer: {
      text: 'L′, the first decoder layer without the picture; 0: where the mean over the layers is U',
    },
  },
  hook({ decoderLayers: L, visualTokens: P }, budget, { window, heads, ffn, layer }): LayerHook {
    checkBudget('yopo', budget, P);
    checkWhole('yopo: layer', layer, 0, L, `the decoder has ${L} layers, and 0 leaves it to the budget`);
    if (window !== 0 && (!Number.isInteger(window) || window < 1 || window % 2 === 0)) {
      throw new UserError(`yopo: window=${window} is not an odd number of patches, or 0`);
    }
    if (!(ffn >= 1)) throw new UserError(`yopo: ffn=${ffn} is not a ratio of 1 or more`);
    const inactive = parseHeads(heads, L);
    const withdrawal = withdrawBefore(layer || layerOfMean(L, budget, P));
    const held: Role[][][] = []; // of the prompt that is being read, then answered: what each layer's cache begins with
    return {
      ...withdrawal,
      limit(l, { roles }, past, { heads: H, neurons: M }) {
        if (past === 0) held[l] = roles;
        const heads =
          inactive[l].length > 0 ? [maskHeads(held[l], past, roles[0].length, inactive[l], H)] : [];
        if (past > 0 || !roles[0].includes('image')) return { mask: heads[0] };
        const masks = window > 0 ? [...heads, maskFar(roles, window)] : heads;
        return {
          mask: masks.length > 1 ? tf.add(masks[0], masks[1]) : masks[0], // a sum of two is as good as −∞ too
          neurons: ffn > 1 ? narrowImage(roles, M, Math.floor(M / ffn)) : undefined,
        };
      },
    };
  },
};

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
 * Inactive heads see no image token; a token sees itself.
 * @param held roles of the tokens that the layer read first, [B][T₀]; what came after is text
 * @returns [B, H, T, past + T], 0 or {@link MASKED}
 */
function maskHeads(held: Role[][], past: number, T: number, heads: number[], H: number): tf.Tensor4D {
  const beyond = heads.find((h) => h >= H);
  if (beyond !== undefined) throw new UserError(`yopo: heads names head ${beyond}, but a layer has ${H}`);
  const Tk = past + T;
  const image = held.map((row) => Array.from({ length: Tk }, (_, j) => +(row[j] === 'image')));
  const others = Array.from({ length: T }, (_, i) => Array.from({ length: Tk }, (_, j) => +(j !== past + i)));
  const inactive = Array.from({ length: H }, (_, h) => (heads.includes(h) ? MASKED : 0));
  return tf.tidy(() =>
    tf.mul(
      tf.mul(tf.tensor4d(inactive, [1, H, 1, 1]), tf.tensor4d(image.flat(), [held.length, 1, 1, Tk])),
      tf.reshape(tf.tensor2d(others, [T, Tk]), [1, 1, T, Tk]),
    ),
  );
}

/**
 * Image tokens see of the picture only what is near on the grid. A [CLS] before the patches is in no grid, sees all
 * and is seen by all.
 * @returns [B, 1, T, T], 0 or {@link MASKED}
 */
function maskFar(roles: Role[][], window: number): tf.Tensor4D {
  const [B, T] = [roles.length, roles[0].length];
  const values = new Float32Array(B * T * T);
  for (const [b, image] of imagePlaces(roles).entries()) {
    const side = Math.floor(Math.sqrt(image.length));
    const patches = image.slice(image.length - side * side);
    for (const [p, i] of patches.entries()) {
      for (const [q, j] of patches.entries()) {
        const rows = Math.abs(Math.floor(p / side) - Math.floor(q / side));
        const columns = Math.abs((p % side) - (q % side));
        if (Math.max(rows, columns) > (window - 1) / 2) values[(b * T + i) * T + j] = MASKED;
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

/**
 * Each head's Σ attention(text → image) / Σ attention(text → text), over all samples: [L][H].
 * @param samples prompts with their pictures; they stay the caller's
 */
export async function measureHeads(llama: Llama, samples: readonly DecoderInput[]): Promise<number[][]> {
  const { num_hidden_layers: L, num_attention_heads: H } = llama.config;
  const sums = Array.from({ length: L }, () => Array.from({ length: H }, () => ({ image: 0, text: 0 })));
  for (const sample of samples) {
    const rope = createRope(llama.config, sample.nextPosition);
    const cache = createCache();
    const trace: Trace = {
      wants: (name) => name === 'decoder.attention.LL',
      record(name, tensor, l) {
        if (name !== 'decoder.attention.LL') return;
        const { H, T } = shape({ attention: tensor }, 'B H T T', { B: sample.roles.length });
        const values = tensor.dataSync();
        for (const [b, row] of sample.roles.entries()) {
          for (let h = 0; h < H; h++) {
            for (const [i, query] of row.entries()) {
              if (query !== 'text') continue;
              const from = ((b * H + h) * T + i) * T;
              for (const [j, key] of row.entries()) sums[l!][h][key] += values[from + j];
            }
          }
        }
      },
    };
    try {
      (await runLlama(llama, sample, { rope, cache, trace })).dispose();
    } finally {
      tf.dispose([rope.cos, rope.sin]);
      disposeCache(cache);
    }
  }
  return sums.map((heads) => heads.map(({ image, text }) => image / text));
}

/** The heads below a threshold, as the option `heads` takes them; the first `spared` layers keep all. */
export function nameInactiveHeads(activity: number[][], threshold: number, spared = 2): string {
  return activity
    .flatMap((heads, l) =>
      heads.flatMap((value, h) => (l >= spared && value < threshold ? [`${l}.${h}`] : [])),
    )
    .join('+');
}
