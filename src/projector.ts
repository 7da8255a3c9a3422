import * as tf from '@tensorflow/tfjs-core';
import { dense, type Tree } from './io/weight-table.ts';
import { activations, type ActivationName } from './tensor/activation.ts';
import { linear, type Linear } from './tensor/linear.ts';

/** LLaVA's bridge from vision width D to decoder width E: one linear layer, or two with an activation between. */
export interface ProjectorConfig {
  kind: 'linear' | 'mlp2x';
  inner: number; // D, times the number of feature layers when several are concatenated
  out: number; // E
  hidden_act: ActivationName;
  bias: boolean;
}

/** The projector's weights, under Hugging Face's names. */
export interface ProjectorWeights {
  linear_1: Linear; // [D, E]
  linear_2?: Linear; // [E, E], mlp2x only
}

/** A projector as it runs. */
export interface Projector {
  config: ProjectorConfig;
  weights: ProjectorWeights;
}

export function projectorTable({ kind, inner, out, bias }: ProjectorConfig): Tree<ProjectorWeights> {
  const linear_1 = dense('multi_modal_projector.linear_1', inner, out, bias);
  if (kind === 'linear') return { linear_1 };
  return { linear_1, linear_2: dense('multi_modal_projector.linear_2', out, out, bias) };
}

/**
 * V = W₂·act(W₁·F). Each token by itself, so pruning before or after it is the same.
 * @param features [B, U, D]
 * @returns [B, U, E]
 */
export function project({ config, weights }: Projector, features: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => {
    const x = linear(weights.linear_1, features);
    return weights.linear_2 ? linear(weights.linear_2, activations[config.hidden_act](x)) : x;
  });
}
