/** How one number of the attention came to be: softmax(q·k/√C), of one head's [CLS] and one patch. */
import * as tf from '@tensorflow/tfjs-core';
import { splitHeads } from '../../tensor/attention.ts';
import { linear } from '../../tensor/linear.ts';
import { scope } from '../../tensor/scope.ts';
import { openBlock } from '../../vision/block.ts';
import type { ClipVision } from '../../vision/clip.ts';

/** One cell of A. */
export interface Cell {
  q: number[]; // [C]
  k: number[]; // [C]
  /** q·k/√C, of the patch. */
  score: number;
  /** The same of each of the N tokens, [CLS] first. */
  scores: number[];
  /** Σ exp(score − the largest). */
  sum: number;
  attention: number;
}

/** @param hidden what enters the layer, [1, N, D] */
export async function explainCell(
  { config, weights }: ClipVision,
  hidden: tf.Tensor3D,
  { layer, head, patch }: { layer: number; head: number; patch: number },
): Promise<Cell> {
  using own = scope();
  const { q_proj } = weights.layers[layer].self_attn;
  const [q, k] = own(
    tf.tidy(() => {
      const open = openBlock(weights.layers[layer], hidden, config);
      const queries = splitHeads(linear(q_proj, open.normed), config.num_attention_heads); // [1, H, N, C]
      const ofHead = (x: tf.Tensor4D, n: number): tf.Tensor2D =>
        tf.reshape(tf.slice(x, [0, head, 0, 0], [1, 1, n, x.shape[3]]), [n, x.shape[3]]);
      return [ofHead(queries, 1), ofHead(open.keys, open.keys.shape[2])];
    }),
  );
  const [[query], keys] = [await q.array(), await k.array()] as number[][][];
  const scores = keys.map((key) => dot(query, key) / Math.sqrt(query.length));
  const most = Math.max(...scores);
  const sum = scores.reduce((total, score) => total + Math.exp(score - most), 0);
  const score = scores[1 + patch];
  return { q: query, k: keys[1 + patch], score, scores, sum, attention: Math.exp(score - most) / sum };
}

const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + x * b[i], 0);
