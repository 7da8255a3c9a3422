/**
 * PerceptionGPT: one token in and one token out for a box. "PerceptionGPT: Effectively Fusing Visual Perception into LLM",
 * arXiv 2311.06612, pipilurj/perceptionGPT @ fd8e3eb.
 *
 *     b     = (x0, y0, x1, y1)                                  shares of the square picture's side, 0 .. 1
 *     write = W₃·relu(W₂·relu(W₁·b))      4 → M → M → E         in place of the embedding of every <loc>, given or said
 *     e     = norm(h_L) of the position that predicts <loc>     [E], the decoder's last hidden state
 *     read  = σ(V₃·relu(V₂·relu(V₁·e)))   E → M → M → 4         the box that is said; V₃ begins at 0, so .5
 *
 *     prompt   locate the red ring           what is <loc> ?
 *     answer   <loc> </s>                    red ring </s>
 *
 * | point | paper | released code (perceptionGPT.py) | here |
 * | --- | --- | --- | --- |
 * | the token | `<vis>` | `<loc>`, between `<obj_vis_s>` and `<obj_vis_e>` | `<loc>` alone |
 * | M | – | 512, an eighth of E, :390-393 | half of E: an eighth of our 128 would be 16 |
 * | e | the token’s embedding | `last_hidden_state` of the position before the label, after the final norm, :505-509 | the same |
 * | box | – | targets x0 y0 x1 y1, which the GIoU reads as cx cy w h, :489-531 with utils/box_utils.py:114 | x0 y0 x1 y1 everywhere |
 * | loss | – | CE + L1 + GIoU, all weights 1, :489-531 | CE + 10·L1 + GIoU (train/box-loss.ts) |
 * | mask | lightweight encoders and decoders, as for boxes | SAM’s two-way transformer, enhancer/sam.py:304-400 | left out: boxes alone |
 * | visual features | – | two softmax mixtures over 24 hidden states, :317-318 | LLaVA's F, so that methods before the decoder prune it |
 * | trained | – | LoRA on q and v; embeddings, lm_head, projector, heads whole | all of projector and decoder, and both MLPs (train/systems/perceptiongpt.ts) |
 *
 * It acts on the output alone and takes no share of the budget: `vtc-cls+perceptiongpt` prunes, and answers with a box.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { DecoderConfig } from '../../decoder/config.ts';
import type { NumberToken } from '../../decoder/number-token.ts';
import { llamaTable, type LlamaWeights } from '../../decoder/weights.ts';
import { dense, type Tree } from '../../io/weight-table.ts';
import { projectorTable, type ProjectorWeights } from '../../projector.ts';
import { linear, type Linear } from '../../tensor/linear.ts';
import type { TrainedSystem } from './system.ts';

/** Three layers with ReLU between. */
export type Mlp = [Linear, Linear, Linear];

export interface PerceptionGptWeights {
  projector: ProjectorWeights;
  /** LLaVA's, with two more rows in `embed_tokens` and `lm_head`. */
  decoder: LlamaWeights;
  write: Mlp; // 4 → E
  read: Mlp; // E → 4
}

/** The words behind the model's own: one that stands for a box, one that asks for it. */
export const boxWords = ['<loc>', 'locate'] as const;

export const perceptionGpt: TrainedSystem<PerceptionGptWeights, Record<never, never>> = {
  name: 'perceptiongpt',
  paper: 'PerceptionGPT: Effectively Fusing Visual Perception into LLM, arXiv 2311.06612',
  summary: 'says and reads where things are: the token <loc> stands for a box, in questions and answers',
  stages: ['output'],
  adds: boxWords,
  defaults: {},
  help: {},
  table: ({ text, projector }) => {
    const E = text.hidden_size;
    return {
      projector: projectorTable(projector),
      decoder: llamaTable(withBoxWords(text), 'language_model.model.', 'language_model.lm_head'),
      write: mlp('box_encoder', 4, boxWidth(E), E),
      read: mlp('box_decoder', E, boxWidth(E), 4),
    };
  },
  prepare: ({ weights, model: { text, projector } }) => ({
    words: {
      'generate.tokens': 'one token after the other; <loc> is a box, read from the state that says it',
    },
    brings: {
      projector: { config: projector, weights: weights.projector },
      decoder: { config: withBoxWords(text), weights: weights.decoder },
    },
    output: boxToken(text, weights),
  }),
};

/** The model's decoder with the two words. */
export const withBoxWords = (text: DecoderConfig): DecoderConfig => ({
  ...text,
  vocab_size: text.vocab_size + boxWords.length,
});

/** M, the inner width of both MLPs. */
export const boxWidth = (E: number): number => Math.max(1, Math.floor(E / 2));

const mlp = (name: string, inner: number, width: number, out: number): Tree<Mlp> => [
  dense(`${name}.layers.0`, inner, width),
  dense(`${name}.layers.1`, width, width),
  dense(`${name}.layers.2`, width, out),
];

/** `<loc>`, for the model whose vocabulary it follows. */
export const boxToken = (
  { vocab_size }: Pick<DecoderConfig, 'vocab_size'>,
  { read, write }: Pick<PerceptionGptWeights, 'read' | 'write'>,
): NumberToken => ({
  id: vocab_size,
  count: 4,
  read: (states) => tf.tidy(() => tf.sigmoid(runMlp(read, states))),
  write: (boxes) => runMlp(write, boxes),
});

/** @param x [M, in] @returns [M, out] */
export function runMlp([first, second, third]: Mlp, x: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => linear(third, tf.relu(linear(second, tf.relu(linear(first, x))))));
}
