import * as tf from '@tensorflow/tfjs-core';
import { dense, norm, table, takeValues, vector, type Leaf, type Tree } from '../io/weight-table.ts';
import type { Linear } from '../tensor/linear.ts';
import type { LayerNorm } from '../tensor/norm.ts';
import { patchCount, prefixTokens, type ClipVisionConfig } from './config.ts';

/** One transformer block of CLIP or SigLIP, under Hugging Face's names. */
export interface ClipBlockWeights {
  layer_norm1: LayerNorm;
  self_attn: { q_proj: Linear; k_proj: Linear; v_proj: Linear; out_proj: Linear };
  layer_norm2: LayerNorm;
  mlp: { fc1: Linear; fc2: Linear };
}

/** The tower's weights, under Hugging Face's names. SigLIP has neither [CLS] nor the norm before the first block. */
export interface ClipVisionWeights {
  class_embedding?: tf.Tensor1D; // [D]
  patch_embedding: Linear; // [patch·patch·3, D], no bias in CLIP
  position_embedding: tf.Tensor2D; // [N, D]
  pre_layrnorm?: LayerNorm; // the checkpoints' own spelling
  layers: ClipBlockWeights[];
}

/**
 * Where each weight stands in a checkpoint.
 * @param prefix what stands before CLIP's names, e.g. `vision_tower.vision_model.`
 */
export function clipVisionTable(config: ClipVisionConfig, prefix: string): Tree<ClipVisionWeights> {
  const { hidden_size: D } = config;
  const [isClip, N] = [config.model_type === 'clip_vision_model', prefixTokens(config) + patchCount(config)];
  const patches = `${prefix}embeddings.patch_embedding`;
  const weight = patchMatrix(`${patches}.weight`, config.patch_size, D);
  return {
    ...(isClip && { class_embedding: vector(`${prefix}embeddings.class_embedding`, D) }),
    patch_embedding: isClip ? { weight } : { weight, bias: vector(`${patches}.bias`, D) },
    position_embedding: table(`${prefix}embeddings.position_embedding.weight`, N, D),
    ...(isClip && { pre_layrnorm: norm(`${prefix}pre_layrnorm`, D) }),
    layers: clipBlockTables(config, prefix),
  };
}

/** The blocks of a tower, vision or text: both name them alike. */
export function clipBlockTables(
  { hidden_size: D, intermediate_size: M, num_hidden_layers }: ClipBlockSizes,
  prefix: string,
): Tree<ClipBlockWeights>[] {
  return Array.from({ length: num_hidden_layers }, (_, l) => {
    const layer = `${prefix}encoder.layers.${l}`;
    return {
      layer_norm1: norm(`${layer}.layer_norm1`, D),
      self_attn: {
        q_proj: dense(`${layer}.self_attn.q_proj`, D, D),
        k_proj: dense(`${layer}.self_attn.k_proj`, D, D),
        v_proj: dense(`${layer}.self_attn.v_proj`, D, D),
        out_proj: dense(`${layer}.self_attn.out_proj`, D, D),
      },
      layer_norm2: norm(`${layer}.layer_norm2`, D),
      mlp: { fc1: dense(`${layer}.mlp.fc1`, D, M), fc2: dense(`${layer}.mlp.fc2`, M, D) },
    };
  });
}

type ClipBlockSizes = Pick<ClipVisionConfig, 'hidden_size' | 'intermediate_size' | 'num_hidden_layers'>;

/** The names in a tower alone that selecting patch features never reads; `head` is SigLIP's pooling. */
export const unusedVisionNames =
  /(post_layernorm\.(weight|bias)|embeddings\.position_ids|^(vision_tower\.)?vision_model\.head\..*)$/;

/** The convolution's kernel [D, 3, patch, patch] → the matrix [patch·patch·3, D] that a flattened NHWC patch meets. */
function patchMatrix(name: string, patch: number, D: number): Leaf<tf.Tensor2D> {
  return {
    leaf: true,
    name,
    shape: [D, 3, patch, patch],
    multiplies: true,
    build: (values) =>
      tf.tidy(() => {
        const kernel = tf.tensor4d(values, [D, 3, patch, patch]);
        return tf.reshape(tf.transpose(kernel, [2, 3, 1, 0]), [patch * patch * 3, D]);
      }),
    unbuild: (weight) =>
      takeValues(
        tf.tidy(() => {
          const kernel: tf.Tensor4D = tf.reshape(weight, [patch, patch, 3, D]);
          return tf.transpose(kernel, [3, 2, 0, 1]);
        }),
      ),
  };
}
