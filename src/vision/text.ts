import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { norm, table, type Tree } from '../io/weight-table.ts';
import { causalMask } from '../tensor/attention.ts';
import { embed } from '../tensor/linear.ts';
import { layerNorm, type LayerNorm } from '../tensor/norm.ts';
import { clipBlock } from './block.ts';
import type { ClipTextConfig } from './text-config.ts';
import { clipBlockTables, type ClipBlockWeights } from './weights.ts';

/** CLIP's text tower: the vision tower's blocks over words, each seeing only what stands before it. */
export interface ClipText {
  config: ClipTextConfig;
  weights: ClipTextWeights;
}

/** The text tower's weights, under Hugging Face's names. */
export interface ClipTextWeights {
  token_embedding: tf.Tensor2D; // [V, D]
  position_embedding: tf.Tensor2D; // [max_position_embeddings, D]
  layers: ClipBlockWeights[];
  final_layer_norm: LayerNorm;
}

/** Where each weight stands in a checkpoint. @param prefix what stands before CLIP's names: `text_model.` */
export function clipTextTable(config: ClipTextConfig, prefix: string): Tree<ClipTextWeights> {
  const { vocab_size: V, hidden_size: D, max_position_embeddings } = config;
  return {
    token_embedding: table(`${prefix}embeddings.token_embedding.weight`, V, D),
    position_embedding: table(`${prefix}embeddings.position_embedding.weight`, max_position_embeddings, D),
    layers: clipBlockTables(config, prefix),
    final_layer_norm: norm(`${prefix}final_layer_norm`, D),
  };
}

/** What the text tower returns; the caller disposes it. */
export type ClipTextOutput = {
  hidden: tf.Tensor3D; // [B, T, D] after the final norm
  pooled: tf.Tensor2D; // [B, D] its row at the end of each text
};

/**
 * Runs the text tower. As the mask is causal, what follows a text's end cannot reach its pooled state: texts of
 * different lengths are simply filled up to the longest one.
 * @param ids B rows of token ids, each with the tokens that begin and end a text
 * @param onHidden called with each hidden state as it comes, before the final norm; it is disposed afterwards
 * @throws UserError when a text is longer than the tower's positions, or does not end
 */
export function runClipText(
  { config, weights }: ClipText,
  ids: number[][],
  onHidden?: (hidden: tf.Tensor3D, index: number) => void,
): ClipTextOutput {
  const B = ids.length;
  const T = Math.max(...ids.map((row) => row.length));
  const { hidden_size: D, max_position_embeddings } = config;
  if (T > max_position_embeddings) {
    throw new UserError(
      `a text of ${T} tokens is longer than the ${max_position_embeddings} that CLIP reads`,
    );
  }
  const ends = findTextEnds(ids, config.eos_token_id);

  return tf.tidy(() => {
    const filled = ids.map((row) => [...row, ...Array.from({ length: T - row.length }, () => 0)]);
    const words = embed(weights.token_embedding, tf.tensor2d(filled, [B, T], 'int32')); // [B, T, D]
    let x: tf.Tensor3D = tf.add(words, tf.slice(weights.position_embedding, [0, 0], [T, D]));
    onHidden?.(x, 0);
    const mask = causalMask(T, T);
    for (const [l, layer] of weights.layers.entries()) {
      x = clipBlock(layer, x, config, { mask }).hidden;
      onHidden?.(x, l + 1);
    }
    const hidden = layerNorm(weights.final_layer_norm, x, config.layer_norm_eps);
    const rows = ends.map((end, b) => b * T + end);
    const pooled: tf.Tensor2D = tf.gather(tf.reshape(hidden, [B * T, D]), tf.tensor1d(rows, 'int32'));
    return { hidden, pooled };
  });
}

/**
 * The position of each text's end-of-text token, the only one that has seen the whole text. The configs of OpenAI's
 * checkpoints say `eos_token_id: 2`, which is wrong; there transformers takes the highest id of the row, as OpenAI's own
 * code does, and otherwise the first `eos_token_id` (padding may be the same token).
 * @throws UserError for a row without one, where transformers silently takes its first token
 */
export function findTextEnds(ids: number[][], eos: number): number[] {
  return ids.map((row) => {
    const end = row.indexOf(eos === 2 ? Math.max(...row) : eos);
    if (end === -1)
      throw new UserError(`the text of tokens ${row.join(' ')} has no end-of-text token (${eos})`);
    return end;
  });
}
