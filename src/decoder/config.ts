import { UserError } from '../errors.ts';
import { fieldReader, isObject, type JsonObject } from '../json.ts';
import { activationNames, type ActivationName } from '../tensor/activation.ts';
import { families, type Family, type FamilyName, type ProjectionBias } from './families.ts';

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

/** A decoder of LLaMA's architecture, under Hugging Face's names. */
export interface DecoderConfig {
  model_type: FamilyName;
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
  bias: ProjectionBias;
  /** How many tokens, itself included, a token sees in the layers that see least; null: all before it. */
  sliding_window: number | null;
  tie_word_embeddings: boolean;
  bos_token_id: number | null;
  eos_token_id: number[];
}

/** More than any model has: beyond it a config is damaged. */
const mostLayers = 1024;

/** Reads a family's config; absent keys take transformers' defaults. */
export function parseDecoderConfig(
  json: JsonObject,
  file: string,
  model_type: FamilyName = 'llama',
): DecoderConfig {
  const { count, number, flag, choice } = fieldReader(json, file);
  const { defaults, bias, slidingWindow }: Family = families[model_type];
  const has = (when: boolean | string) => (typeof when === 'string' ? flag(when, false) : when);
  const hidden_size = count('hidden_size', defaults.hidden_size);
  const num_hidden_layers = count('num_hidden_layers', defaults.num_hidden_layers, mostLayers);
  const num_attention_heads = count('num_attention_heads', defaults.num_attention_heads);
  // null stands for as many as query heads, whatever absence stands for
  const keyHeads = json['num_key_value_heads'] === null ? null : defaults.num_key_value_heads;
  const config: DecoderConfig = {
    model_type,
    vocab_size: count('vocab_size', defaults.vocab_size),
    hidden_size,
    intermediate_size: count('intermediate_size', defaults.intermediate_size),
    num_hidden_layers,
    num_attention_heads,
    num_key_value_heads: count('num_key_value_heads', keyHeads ?? num_attention_heads),
    head_dim: count('head_dim', Math.floor(hidden_size / num_attention_heads)),
    hidden_act: choice('hidden_act', activationNames, 'silu'),
    max_position_embeddings: count('max_position_embeddings', defaults.max_position_embeddings, 2 ** 30),
    rms_norm_eps: number('rms_norm_eps', defaults.rms_norm_eps),
    ...parseRope(json, file, defaults),
    bias: { qkv: has(bias.qkv), o: has(bias.o), mlp: has(bias.mlp) },
    sliding_window: slidingWindow(json, file, num_hidden_layers),
    tie_word_embeddings: flag('tie_word_embeddings', false),
    bos_token_id: tokenIds(json, 'bos_token_id', defaults.bos_token_id, file)[0] ?? null,
    eos_token_id: tokenIds(json, 'eos_token_id', defaults.eos_token_id, file),
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
 * `rope_scaling: { rope_type or type, … }`, which it still takes where both are there.
 */
function parseRope(
  json: JsonObject,
  file: string,
  defaults: Family['defaults'],
): Pick<DecoderConfig, 'rope_theta' | 'rope_scaling'> {
  const top = fieldReader(json, file);
  const [older, newer] = [top.object('rope_scaling') ?? {}, top.object('rope_parameters') ?? {}];
  const scaling = Object.keys(older).length > 0 ? older : newer;
  const nested = Object.keys(scaling).find((key) => isObject(scaling[key]));
  if (nested !== undefined) {
    throw new UserError(`${file}: RoPE parameters for each kind of layer (${nested}) are not supported`);
  }
  if ((scaling['partial_rotary_factor'] ?? json['partial_rotary_factor'] ?? 1) !== 1) {
    throw new UserError(`${file}: partial_rotary_factor is not supported: RoPE turns the whole head here`);
  }
  const { count, number, choice } = fieldReader(
    { ...scaling, rope_type: scaling['rope_type'] ?? scaling['type'] },
    file,
  );
  const rope_theta = number('rope_theta', top.number('rope_theta', defaults.rope_theta));
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
            top.count('max_position_embeddings', defaults.max_position_embeddings, 2 ** 30),
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
