import { UserError } from '../errors.ts';
import { fieldReader, type JsonObject } from '../json.ts';
import { activationNames, type ActivationName } from '../tensor/activation.ts';

/** CLIP's vision tower, under Hugging Face's names. */
export interface ClipVisionConfig {
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

/** Reads a `CLIPVisionConfig`; absent keys take transformers' defaults (ViT-B/32). */
export function parseClipVisionConfig(json: JsonObject, file: string): ClipVisionConfig {
  const { count, number, choice } = fieldReader(json, file);
  const config: ClipVisionConfig = {
    hidden_size: count('hidden_size', 768),
    intermediate_size: count('intermediate_size', 3072),
    num_hidden_layers: count('num_hidden_layers', 12, mostLayers),
    num_attention_heads: count('num_attention_heads', 12),
    image_size: count('image_size', 224, mostPixels),
    patch_size: count('patch_size', 32),
    hidden_act: choice('hidden_act', activationNames, 'quick_gelu'),
    layer_norm_eps: number('layer_norm_eps', 1e-5),
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

/** P, the number of patches. */
export function patchCount(config: ClipVisionConfig): number {
  return gridSide(config) ** 2;
}
