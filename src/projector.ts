import * as tf from '@tensorflow/tfjs-core';
import { dense, norm, type Tree } from './io/weight-table.ts';
import { activations, type ActivationName } from './tensor/activation.ts';
import { linear, type Linear } from './tensor/linear.ts';
import { layerNorm, type LayerNorm } from './tensor/norm.ts';

/**
 * LLaVA's bridge from vision width D to decoder width E: one linear layer, or two with an activation between; in vip-llava
 * behind a norm.
 */
export interface ProjectorConfig {
  kind: 'linear' | 'mlp2x';
  inner: number; // D, times the number of feature layers when several are concatenated
  out: number; // E
  hidden_act: ActivationName;
  bias: boolean;
  layer_norm_eps?: number; // of the norm before all, where there is one
}

/** The projector's weights, under Hugging Face's names. */
export interface ProjectorWeights {
  projector_layernorm?: LayerNorm; // [D]
  linear_1: Linear; // [D, E]
  linear_2?: Linear; // [E, E], mlp2x only
}

/** A projector as it runs. */
export interface Projector {
  config: ProjectorConfig;
  weights: ProjectorWeights;
}

export function projectorTable({
  kind,
  inner,
  out,
  bias,
  layer_norm_eps,
}: ProjectorConfig): Tree<ProjectorWeights> {
  const name = 'multi_modal_projector';
  return {
    ...(layer_norm_eps !== undefined && { projector_layernorm: norm(`${name}.projector_layernorm`, inner) }),
    linear_1: dense(`${name}.linear_1`, inner, out, bias),
    ...(kind === 'mlp2x' && { linear_2: dense(`${name}.linear_2`, out, out, bias) }),
  };
}

/**
 * V = W₂·act(W₁·F), or of LayerNorm(F). Each token by itself, so pruning before or after it is the same.
 * @param features [B, U, D]
 * @returns [B, U, E]
 */
export function project({ config, weights }: Projector, features: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => {
    const { projector_layernorm, linear_1 } = weights;
    const normed = projector_layernorm
      ? layerNorm(projector_layernorm, features, config.layer_norm_eps!)
      : features;
    const x = linear(linear_1, normed);
    return weights.linear_2 ? linear(weights.linear_2, activations[config.hidden_act](x)) : x;
  });
}
