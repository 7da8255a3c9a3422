import * as tf from '@tensorflow/tfjs-core';
import { shape } from './axes.ts';
import { backendTraits } from './traits.ts';

/** What attention returns. The probabilities are a value, not a hook; they exist only when asked for. */
export type Attention = {
  context: tf.Tensor4D; // [B, H, Tq, C]
  probabilities?: tf.Tensor4D; // [B, H, Tq, Tk]
};

/** What else goes into attention. */
export interface AttentionOptions {
  /**
   * Added to the scores before the softmax, [Tq, Tk], or broadcast to [B, H, Tq, Tk]: 0 where a query may look,
   * {@link MASKED} where not.
   */
  mask?: tf.Tensor2D | tf.Tensor4D;
  /** Times the probabilities, after the softmax: broadcast to [B, H, Tq, Tk]. Rows then need not sum to 1. */
  weights?: tf.Tensor4D;
  /** Added to the scores of each key, whatever the query, [B, Tk]. */
  keyBias?: tf.Tensor2D;
  /** Return the [B, H, Tq, Tk] probabilities too. */
  keepProbabilities?: boolean;
}

/** exp(MASKED − max) is 0 in float32; −Infinity would turn a fully masked row into NaN. */
export const MASKED = -1e9;

/** [B, T, H·C] → [B, H, T, C] */
export function splitHeads(x: tf.Tensor3D, heads: number): tf.Tensor4D {
  return tf.tidy(() => {
    const { B, T, W } = shape({ x }, 'B T W');
    if (W % heads !== 0) throw new Error(`a width of ${W} does not split into ${heads} heads`);
    return tf.transpose(tf.reshape(x, [B, T, heads, W / heads]) as tf.Tensor4D, [0, 2, 1, 3]);
  });
}

/** [B, H, T, C] → [B, T, H·C], the inverse of {@link splitHeads}. */
export function mergeHeads(x: tf.Tensor4D): tf.Tensor3D {
  return tf.tidy(() => {
    const { B, H, T, C } = shape({ x }, 'B H T C');
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [B, T, H * C]);
  });
}

/**
 * (softmax(q·kᵀ / √C + mask) ⊙ weights)·v. With G < H key/value heads (grouped-query attention) query head h reads
 * key/value head ⌊h·G/H⌋.
 * @param q [B, H, Tq, C]
 * @param k [B, G, Tk, C]
 * @param v [B, G, Tk, C]
 */
export function attend(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  options: AttentionOptions = {},
): Attention {
  const { B, H, C } = shape({ q }, 'B H Tq C');
  const { G, Tk } = shape({ k }, 'B G Tk C', { B, C });
  shape({ v }, 'B G Tk C', { B, G, Tk, C });
  if (H % G !== 0) throw new Error(`${H} query heads cannot share ${G} key/value heads`);
  const run = backendTraits().fastBatchedMatMul ? attendBatched : attendByHead;
  return tf.tidy(() => run(q, k, v, options));
}

/** Every head at once: two batched products. The plain form, and the fast one on TensorFlow. Inside a tidy. */
export function attendBatched(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  { mask, weights, keyBias, keepProbabilities }: AttentionOptions,
): Attention {
  const [B, H, Tq, C] = q.shape;
  const [, G, Tk] = k.shape;
  // The H/G query heads of one key/value head lie next to each other: fold them into its query axis.
  const folded = tf.reshape(tf.mul(q, 1 / Math.sqrt(C)), [B, G, (H / G) * Tq, C]);
  let scores = tf.reshape(tf.matMul(folded, k, false, true), [B, H, Tq, Tk]);
  if (keyBias) scores = tf.add(scores, tf.reshape(keyBias, [B, 1, 1, Tk]));
  const rows = tf.softmax(mask ? tf.add(scores, mask) : scores); // [B, H, Tq, Tk]
  const p = weights ? tf.mul(rows, weights) : rows;
  const foldedContext = tf.matMul(tf.reshape(p, [B, G, (H / G) * Tq, Tk]), v);
  const context: tf.Tensor4D = tf.reshape(foldedContext, [B, H, Tq, C]);
  return keepProbabilities ? { context, probabilities: p as tf.Tensor4D } : { context };
}

/** One 2-D product a head: on wasm a batched or transposed one is a scalar loop, 10–30 times slower. Inside a tidy. */
export function attendByHead(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  { mask, weights, keyBias, keepProbabilities }: AttentionOptions,
): Attention {
  const [B, H, Tq, C] = q.shape;
  const [, G, Tk] = k.shape;
  const contexts: tf.Tensor2D[] = [];
  const probabilities: tf.Tensor2D[] = [];
  const head = (x: tf.Tensor4D, b: number, h: number): tf.Tensor2D =>
    tf.reshape(tf.slice(x, [b, h, 0, 0], [1, 1, x.shape[2], C]), [x.shape[2], C]);
  /** The [Tq, Tk] of one head, from what holds for all of them or is given for each. */
  const byHead = (x: tf.Tensor2D | tf.Tensor4D | undefined) => {
    if (x?.rank !== 4) return () => x as tf.Tensor2D | undefined;
    const all = tf.broadcastTo<tf.Rank.R4>(x as tf.Tensor4D, [B, H, Tq, Tk]);
    return (b: number, h: number): tf.Tensor2D =>
      tf.reshape(tf.slice(all, [b, h, 0, 0], [1, 1, Tq, Tk]), [Tq, Tk]);
  };
  const [maskOf, weightsOf] = [byHead(mask), byHead(weights)];
  for (let b = 0; b < B; b++) {
    for (let g = 0; g < G; g++) {
      const kT = tf.transpose(head(k, b, g)); // [C, Tk], once for the H/G heads that share it
      const vHead = head(v, b, g);
      for (let h = (g * H) / G; h < ((g + 1) * H) / G; h++) {
        const [context, p] = tf.tidy((): tf.Tensor2D[] => {
          let scores: tf.Tensor2D = tf.mul(tf.matMul(head(q, b, h), kT), 1 / Math.sqrt(C)); // [Tq, Tk]
          if (keyBias) scores = tf.add(scores, tf.slice(keyBias, [b, 0], [1, Tk]));
          const own = maskOf(b, h);
          const rows = tf.softmax(own ? tf.add<tf.Tensor2D>(scores, own) : scores);
          const times = weightsOf(b, h);
          const p = times ? tf.mul<tf.Tensor2D>(rows, times) : rows;
          return keepProbabilities ? [tf.matMul(p, vHead), p] : [tf.matMul(p, vHead)];
        });
        contexts.push(context);
        if (p) probabilities.push(p);
      }
      tf.dispose([kT, vHead]);
    }
  }
  const stack = (parts: tf.Tensor2D[], width: number): tf.Tensor4D =>
    tf.reshape(tf.concat(parts, 0), [B, H, Tq, width]);
  const context = stack(contexts, C);
  return keepProbabilities ? { context, probabilities: stack(probabilities, Tk) } : { context };
}

/**
 * The attention of single queries, without the [T, T] matrix: softmax(q·kᵀ / √C).
 * @param q [B, H, C] one query a head
 * @param k [B, H, T, C]
 * @returns [B, H, T]
 */
export function attendRow(q: tf.Tensor3D, k: tf.Tensor4D): tf.Tensor3D {
  return tf.tidy(() => {
    const { B, H, T, C } = shape({ k }, 'B H T C');
    shape({ q }, 'B H C', { B, H, C });
    const row = tf.mul(tf.reshape(q, [B, H, 1, C]), 1 / Math.sqrt(C));
    return tf.reshape(tf.softmax(tf.matMul(row, k, false, true)), [B, H, T]);
  });
}

/**
 * The mask of causal attention over the last Tq of Tk tokens: query i sees keys 0 .. i + (Tk − Tq).
 * @returns [Tq, Tk], 0 or {@link MASKED}; undefined for one query, which sees everything
 */
export function causalMask(Tq: number, Tk: number): tf.Tensor2D | undefined {
  if (Tq === 1) return undefined;
  const values = new Float32Array(Tq * Tk);
  for (let i = 0; i < Tq; i++) values.fill(MASKED, i * Tk + i + 1 + Tk - Tq, (i + 1) * Tk);
  return tf.tensor2d(values, [Tq, Tk]);
}
