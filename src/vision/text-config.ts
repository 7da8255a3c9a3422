import { UserError } from '../errors.ts';
import { fieldReader, type JsonObject } from '../json.ts';
import { mostLayers } from './config.ts';
import { activationNames, type ActivationName } from '../tensor/activation.ts';

/** CLIP's text tower, under Hugging Face's names. */
export interface ClipTextConfig {
  vocab_size: number; // V
  hidden_size: number; // D, not necessarily the vision tower's
  intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number; // H
  max_position_embeddings: number; // the longest text, in tokens
  hidden_act: ActivationName;
  layer_norm_eps: number;
  bos_token_id: number;
  /** The end-of-text token; 2 stands for "the highest id of the text", see `findTextEnds`. */
  eos_token_id: number;
}

/** Reads a `CLIPTextConfig`; absent keys take transformers' defaults (ViT-B/32). */
export function parseClipTextConfig(json: JsonObject, file: string): ClipTextConfig {
  const { count, integer, number, choice } = fieldReader(json, file);
  const config: ClipTextConfig = {
    vocab_size: count('vocab_size', 49408),
    hidden_size: count('hidden_size', 512),
    intermediate_size: count('intermediate_size', 2048),
    num_hidden_layers: count('num_hidden_layers', 12, mostLayers),
    num_attention_heads: count('num_attention_heads', 8),
    max_position_embeddings: count('max_position_embeddings', 77),
    hidden_act: choice('hidden_act', activationNames, 'quick_gelu'),
    layer_norm_eps: number('layer_norm_eps', 1e-5),
    bos_token_id: integer('bos_token_id', 49406),
    eos_token_id: integer('eos_token_id', 49407),
  };
  const { hidden_size, num_attention_heads } = config;
  if (hidden_size % num_attention_heads !== 0) {
    throw new UserError(
      `${file}: hidden_size ${hidden_size} is not divisible by num_attention_heads ${num_attention_heads}`,
    );
  }
  return config;
}
