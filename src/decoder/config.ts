import { UserError } from '../errors.ts';
import { fieldReader, type JsonObject } from '../json.ts';
import { activationNames, type ActivationName } from '../tensor/activation.ts';

/** How RoPE's frequencies are stretched for contexts longer than the pretraining's. */
export type RopeScaling =
  | { rope_type: 'default' }
  | { rope_type: 'linear'; factor: number }
  | {
      rope_type: 'llama3';
      factor: number;
      low_freq_factor: number;
      high_freq_factor: number;
      original_max_position_embeddings: number;
    };

/** A LLaMA decoder, under Hugging Face's names. */
export interface LlamaConfig {
  vocab_size: number; // V
  hidden_size: number; // E
  intermediate_size: number;
  num_hidden_layers: number; // L
  num_attention_heads: number; // H
  num_key_value_heads: number; // G
  head_dim: number; // C
  hidden_act: ActivationName;
  max_position_embeddings: number;
  rms_norm_eps: number;
  rope_theta: number;
  rope_scaling: RopeScaling;
  attention_bias: boolean;
  mlp_bias: boolean;
  tie_word_embeddings: boolean;
  bos_token_id: number | null;
  eos_token_id: number[];
}

/** More than any model has: beyond it a config is damaged. */
const mostLayers = 1024;

/** Reads a `LlamaConfig`; absent keys take transformers' defaults (LLaMA-7B). */
export function parseLlamaConfig(json: JsonObject, file: string): LlamaConfig {
  const { count, number, flag, choice } = fieldReader(json, file);
  const hidden_size = count('hidden_size', 4096);
  const num_attention_heads = count('num_attention_heads', 32);
  const config: LlamaConfig = {
    vocab_size: count('vocab_size', 32000),
    hidden_size,
    intermediate_size: count('intermediate_size', 11008),
    num_hidden_layers: count('num_hidden_layers', 32, mostLayers),
    num_attention_heads,
    num_key_value_heads: count('num_key_value_heads', num_attention_heads),
    head_dim: count('head_dim', Math.floor(hidden_size / num_attention_heads)),
    hidden_act: choice('hidden_act', activationNames, 'silu'),
    max_position_embeddings: count('max_position_embeddings', 2048, 2 ** 30),
    rms_norm_eps: number('rms_norm_eps', 1e-6),
    ...parseRope(json, file),
    attention_bias: flag('attention_bias', false),
    mlp_bias: flag('mlp_bias', false),
    tie_word_embeddings: flag('tie_word_embeddings', false),
    bos_token_id: tokenIds(json, 'bos_token_id', [1], file)[0] ?? null,
    eos_token_id: tokenIds(json, 'eos_token_id', [2], file),
  };
  if (config.num_attention_heads % config.num_key_value_heads !== 0) {
    throw new UserError(
      `${file}: num_attention_heads ${config.num_attention_heads} is not divisible by ` +
        `num_key_value_heads ${config.num_key_value_heads}`,
    );
  }
  if (config.head_dim % 2 !== 0) {
    throw new UserError(`${file}: head_dim ${config.head_dim} is odd; RoPE rotates pairs`);
  }
  return config;
}

/**
 * transformers 5 writes `rope_parameters: { rope_theta, rope_type, … }`; before, `rope_theta` stood beside
 * `rope_scaling: { rope_type or type, … }`.
 */
function parseRope(json: JsonObject, file: string): Pick<LlamaConfig, 'rope_theta' | 'rope_scaling'> {
  const top = fieldReader(json, file);
  const scaling = top.object('rope_parameters') ?? top.object('rope_scaling') ?? {};
  const { count, number, choice } = fieldReader(
    { ...scaling, rope_type: scaling['rope_type'] ?? scaling['type'] },
    file,
  );
  const rope_theta = number('rope_theta', top.number('rope_theta', 10000));
  const rope_type = choice('rope_type', ['default', 'linear', 'llama3'] as const, 'default');
  switch (rope_type) {
    case 'default':
      return { rope_theta, rope_scaling: { rope_type } };
    case 'linear':
      return { rope_theta, rope_scaling: { rope_type, factor: number('factor') } };
    case 'llama3':
      return {
        rope_theta,
        rope_scaling: {
          rope_type,
          factor: number('factor'),
          low_freq_factor: number('low_freq_factor'),
          high_freq_factor: number('high_freq_factor'),
          original_max_position_embeddings: count(
            'original_max_position_embeddings',
            top.count('max_position_embeddings', 2048, 2 ** 30),
            2 ** 30,
          ),
        },
      };
  }
}

/** A token id, a list of them, or null: as a list. */
export function tokenIds(json: JsonObject, key: string, fallback: number[], file: string): number[] {
  const value = json[key];
  if (value === undefined) return fallback;
  const ids = value === null ? [] : Array.isArray(value) ? (value as unknown[]) : [value];
  if (!ids.every((id): id is number => Number.isSafeInteger(id))) {
    throw new UserError(`${file}: ${key} should be a token id or a list of them`);
  }
  return ids;
}
