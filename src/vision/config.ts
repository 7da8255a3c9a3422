import { UserError } from '../errors.ts';
import { fieldReader, type JsonObject } from '../json.ts';
import { activationNames, type ActivationName } from '../tensor/activation.ts';

/**
 * The towers that are read, by `model_type`: CLIP's, and SigLIP's, which is CLIP's without [CLS], without the norm before the
 * first block, and with a bias on its patches. Defaults are transformers' (ViT-B).
 */
export const towers = {
  clip_vision_model: {
    title: 'CLIP',
    prefixTokens: 1, // [CLS]
    defaults: { patch_size: 32, hidden_act: 'quick_gelu', layer_norm_eps: 1e-5 },
  },
  siglip_vision_model: {
    title: 'SigLIP',
    prefixTokens: 0,
    defaults: { patch_size: 16, hidden_act: 'gelu_pytorch_tanh', layer_norm_eps: 1e-6 },
  },
} as const;

export type TowerName = keyof typeof towers;

export const towerNames = Object.keys(towers) as TowerName[];

/** A vision tower, CLIP's or SigLIP's, under Hugging Face's names. */
export interface ClipVisionConfig {
  model_type: TowerName;
  hidden_size: number; // D
  intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number; // H
  image_size: number; // S, pixels
  patch_size: number; // pixels
  hidden_act: ActivationName;
  layer_norm_eps: number;
}

/** More than any model has: beyond them a config is damaged. */
export const mostLayers = 1024;
const mostPixels = 4096;

/** Reads a `CLIPVisionConfig` or a `SiglipVisionConfig`; absent keys take transformers' defaults. */
export function parseClipVisionConfig(
  json: JsonObject,
  file: string,
  model_type: TowerName = 'clip_vision_model',
): ClipVisionConfig {
  const { count, number, choice } = fieldReader(json, file);
  const { defaults } = towers[model_type];
  const config: ClipVisionConfig = {
    model_type,
    hidden_size: count('hidden_size', 768),
    intermediate_size: count('intermediate_size', 3072),
    num_hidden_layers: count('num_hidden_layers', 12, mostLayers),
    num_attention_heads: count('num_attention_heads', 12),
    image_size: count('image_size', 224, mostPixels),
    patch_size: count('patch_size', defaults.patch_size),
    hidden_act: choice('hidden_act', activationNames, defaults.hidden_act),
    layer_norm_eps: number('layer_norm_eps', defaults.layer_norm_eps),
  };
  const { hidden_size, num_attention_heads, image_size, patch_size } = config;
  if (count('num_channels', 3) !== 3) throw new UserError(`${file}: num_channels should be 3 (RGB)`);
  if (hidden_size % num_attention_heads !== 0) {
    throw new UserError(
      `${file}: hidden_size ${hidden_size} is not divisible by num_attention_heads ${num_attention_heads}`,
    );
  }
  if (patch_size > image_size) {
    throw new UserError(`${file}: patch_size ${patch_size} is larger than image_size ${image_size}`);
  }
  return config;
}

/** Patches a side: ⌊S / patch⌋; a rest of the image narrower than a patch is not seen, as in PyTorch's convolution. */
export function gridSide({ image_size, patch_size }: ClipVisionConfig): number {
  return Math.floor(image_size / patch_size);
}

/** Tokens that stand before the patches: 1 for [CLS], 0 in a tower without one. */
export const prefixTokens = ({ model_type }: Pick<ClipVisionConfig, 'model_type'>): 0 | 1 =>
  towers[model_type].prefixTokens;

/** P, the number of patches. */
export function patchCount(config: ClipVisionConfig): number {
  return gridSide(config) ** 2;
}
