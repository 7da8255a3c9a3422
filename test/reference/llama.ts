import type { DecoderConfig } from '../../src/decoder/config.ts';
import type { LlamaBlockWeights, LlamaWeights } from '../../src/decoder/weights.ts';
import type { Arrays } from '../support/random.ts';
import { attend, mergeHeads, splitHeads } from './attention.ts';
import { activate, addRows, linear, rmsNorm, type Matrix, type Vector } from './ops.ts';
import { frequencies, rotateHalf } from './rope.ts';

/** What a block withholds: whom a query of a head may see, and how many inner neurons a token may use. */
export interface Limits {
  /** In place of causality. */
  sees?: (h: number, i: number, j: number) => boolean;
  /** Times the attention, after the softmax. */
  weights?: (h: number, j: number) => number;
  /** Times a head's output for token i. */
  heads?: (h: number, i: number) => number;
  neurons?: (t: number) => number;
}

/** One block over a whole sequence, no cache: hidden [T, E] and the attention [H][T, T]. */
export function llamaBlock(
  weights: Arrays<LlamaBlockWeights>,
  hidden: Matrix,
  positions: Vector,
  config: DecoderConfig,
  { sees, weights: times, heads, neurons }: Limits = {},
): { hidden: Matrix; attention: Matrix[]; keys: Matrix[]; values: Matrix[] } {
  const { num_attention_heads: H, num_key_value_heads: G, rms_norm_eps: eps } = config;
  const { q_proj, k_proj, v_proj, o_proj } = weights.self_attn;
  const { gate_proj, up_proj, down_proj } = weights.mlp;
  const theta = frequencies(config);
  const rotate = (heads: Matrix[]) =>
    heads.map((head) => head.map((row, t) => rotateHalf(row, positions[t], theta)));

  const x = rmsNorm(hidden, weights.input_layernorm, eps);
  const keys = rotate(splitHeads(linear(x, k_proj), G));
  const values = splitHeads(linear(x, v_proj), G);
  const { context, probabilities } = attend(
    rotate(splitHeads(linear(x, q_proj), H)),
    keys,
    values,
    !sees,
    sees,
    times,
  );
  const heard = context.map((head, h) => head.map((row, i) => row.map((x) => x * (heads?.(h, i) ?? 1))));
  const middle = addRows(hidden, linear(mergeHeads(heard), o_proj));

  const y = rmsNorm(middle, weights.post_attention_layernorm, eps);
  const gate = activate(linear(y, gate_proj), config.hidden_act);
  const up = linear(y, up_proj);
  const gated = gate.map((row, t) => row.map((g, m) => (m < (neurons?.(t) ?? Infinity) ? g * up[t][m] : 0)));
  return { hidden: addRows(middle, linear(gated, down_proj)), attention: probabilities, keys, values };
}

/** A whole prefill of one item: logits [T, V]. */
export function runLlama(
  weights: Arrays<LlamaWeights>,
  embeddings: Matrix,
  positions: Vector,
  config: DecoderConfig,
): Matrix {
  let hidden = embeddings;
  for (const layer of weights.layers) hidden = llamaBlock(layer, hidden, positions, config).hidden;
  return linear(rmsNorm(hidden, weights.norm, config.rms_norm_eps), weights.lm_head);
}
