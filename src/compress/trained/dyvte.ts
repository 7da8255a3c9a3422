/**
 * DyVTE: small networks between the decoder's layers tell, from the text alone, when the picture has said all; then it
 * leaves. "Accelerating Multimodal Large Language Models via Dynamic Visual-Token Exit and the Empirical Findings",
 * arXiv 2411.19628, DoubtedSteam/DyVTE @ b4a3396.
 *
 *     h   = layer l's output                                     [T, E], the picture at S .. S + P − 1
 *     x_l = [mean of h over S + P .. T − 2 | h_{T−1}]            [2E]    the text behind the picture, and its last token
 *     z_l = W₂·gelu(W₁·x_l)                                      [2]     the gate of layer l, without biases
 *     the first l with  z_l[1] > z_l[0] + margin:  layers l + 1 .. L − 1 run on the text alone, at the positions it had
 *
 * | point | released code (modeling_llama.py) | here |
 * | --- | --- | --- |
 * | gate | Linear(2E → 2048), GELU, Linear(2048 → 2), one a layer, :461-477 | inner width E/2, as 2048 is of 4096 |
 * | rule | `logits[0] < logits[1]`, greedy, :744-763 | the same; the margin of an option, 0 by default |
 * | when | after each layer of prefill, batch of 1; no gate open: asked again in decode, where it fails, :739 | at prefill, one prompt at a time |
 * | layer L − 1 | has a gate, whose exit saves nothing | has its gate; it is never asked |
 * | picture's end | 35 + 576, fixed | where the prompt has it |
 * | nothing but one token behind the picture | a mean of nothing | that token twice |
 *
 * Trained with the decoder frozen (train/systems/dyvte.ts). U plays no part: how deep the picture goes is the question's.
 * The abstract speaks of hyper-networks for LLaVA, VILA, Eagle and InternVL; the release has LLaVA's.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { DecoderState } from '../../decoder/state.ts';
import { UserError } from '../../errors.ts';
import { dense } from '../../io/weight-table.ts';
import { activations } from '../../tensor/activation.ts';
import { linear, type Linear } from '../../tensor/linear.ts';
import { picking } from '../../tensor/token-matrix.ts';
import { readPictures } from '../host.ts';
import { countImage } from '../image-tokens.ts';
import type { TrainedSystem } from './system.ts';

/** W₁ [2E, M] and W₂ [M, 2], without biases. */
export interface Gate {
  w1: Linear;
  w2: Linear;
}

/** A gate a layer, [L]. */
export interface DyvteWeights {
  gates: Gate[];
}

export const dyvte: TrainedSystem<DyvteWeights, { margin: number }> = {
  name: 'dyvte',
  paper:
    'Accelerating Multimodal Large Language Models via Dynamic Visual-Token Exit and the Empirical Findings, arXiv 2411.19628',
  summary:
    'drops all image tokens after the decoder layer at which a trained gate says that they have been read',
  stages: ['between'],
  single: true,
  defaults: { margin: 0 },
  help: {
    margin: { text: 'by how much a gate’s “exit” must be above its “stay”, in logits; above 0 exits later' },
  },
  table: ({ text: { num_hidden_layers: L, hidden_size: E } }) => ({
    gates: Array.from({ length: L }, (_, l) => ({
      w1: dense(`gates.${l}.w1`, 2 * E, gateWidth(E), false),
      w2: dense(`gates.${l}.w2`, gateWidth(E), 2, false),
    })),
  }),
  prepare: ({ weights }, _source, _budget, { margin }) => ({
    words: { 'decoder.matrix.LL': 'the gate opened: the picture is gone' },
    between: () => ({
      async cut(l, view) {
        if (l === 0 || countImage(view) === 0) return undefined;
        if (view.roles.length > 1) {
          throw new UserError(`dyvte: a gate decides for one prompt at a time, not for ${view.roles.length}`);
        }
        const [[stay, exit]] = await readPictures('dyvte.gate', () =>
          runGate(weights.gates[l - 1], readText(view)),
        );
        return exit > stay + margin ? picking([[]], countImage(view)) : undefined;
      },
    }),
  }),
};

/** M, a gate's inner width. */
export const gateWidth = (E: number): number => Math.max(1, Math.floor(E / 2));

/** @param x [B, 2E] @returns z [B, 2]: stay, exit */
export function runGate({ w1, w2 }: Gate, x: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => linear(w2, activations.gelu(linear(w1, x))));
}

/**
 * What the gates see of a prompt's text.
 * @param state of prompts whose pictures end at one place
 * @returns x [B, 2E]
 */
export function readText({ hidden, roles }: Pick<DecoderState, 'hidden' | 'roles'>): tf.Tensor2D {
  return tf.tidy(() => {
    const [B, T, E] = hidden.shape;
    const end = 1 + roles[0].lastIndexOf('image'); // S + P
    const [from, count] = end < T - 1 ? [end, T - 1 - end] : [T - 1, 1];
    const mean: tf.Tensor2D = tf.mean(tf.slice(hidden, [0, from, 0], [B, count, E]), 1);
    const last: tf.Tensor2D = tf.reshape(tf.slice(hidden, [0, T - 1, 0], [B, 1, E]), [B, E]);
    return tf.concat([mean, last], 1);
  });
}
