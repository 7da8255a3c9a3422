/** The table of families: each config is read as transformers reads it. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseDecoderConfig, type DecoderConfig } from '../../src/decoder/config.ts';
import { families, familyNames, isFamilyName, type FamilyName } from '../../src/decoder/families.ts';
import { llamaTable } from '../../src/decoder/weights.ts';
import { UserError } from '../../src/errors.ts';
import type { JsonObject } from '../../src/json.ts';
import { golden } from '../support/golden.ts';

interface Case {
  config: JsonObject & { model_type: FamilyName };
  read: DecoderConfig | null;
}
const { cases } = JSON.parse(readFileSync(golden('families.json'), 'utf8')) as { cases: Case[] };

const parse = (config: Case['config']) => parseDecoderConfig(config, 'config.json', config.model_type);

describe('as transformers reads it', () => {
  test.each(cases.map(({ config, read }) => [JSON.stringify(config), config, read] as const))(
    '%s',
    (_, config, read) => {
      if (read === null) expect(() => parse(config)).toThrow(UserError);
      else expect(parse(config)).toEqual(read);
    },
  );

  test('every family, and of each what is refused too', () => {
    expect([...new Set(cases.map(({ config }) => config.model_type))]).toEqual(familyNames);
    expect(familyNames).toEqual(Object.keys(families));
    expect(['llama', 'qwen3', 'constructor', undefined].map(isFamilyName)).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });
});

test('q, k and v of Qwen2 have a bias in the files, o and the MLP have none', () => {
  const { self_attn, mlp } = llamaTable(parse({ model_type: 'qwen2' }), 'model.', 'lm_head').layers[0];
  const biased = Object.entries({ ...self_attn, ...mlp }).filter(([, { bias }]) => bias !== undefined);
  expect(biased.map(([name]) => name)).toEqual(['q_proj', 'k_proj', 'v_proj']);
});

test.each<[JsonObject & { model_type: FamilyName }, string]>([
  [{ model_type: 'mistral', sliding_window: 0 }, 'sliding_window should be a positive integer, is 0'],
  [{ model_type: 'mistral', sliding_window: '4k' }, 'sliding_window should be a positive integer, is "4k"'],
  [{ model_type: 'qwen2', use_sliding_window: 1 }, 'use_sliding_window should be true or false, is 1'],
  [
    { model_type: 'qwen2', use_sliding_window: true, sliding_window: -1 },
    'sliding_window should be a positive integer, is -1',
  ],
  [
    { model_type: 'qwen2', use_sliding_window: true, max_window_layers: 'x' },
    'max_window_layers should be an integer, is "x"',
  ],
  [
    { model_type: 'qwen2', layer_types: 'full_attention' },
    'layer_types should be a list of 32, one for each layer',
  ],
  [
    { model_type: 'qwen2', num_hidden_layers: 1, layer_types: ['chunked_attention'] },
    'layer_types "chunked_attention" is not supported, only full_attention or sliding_attention',
  ],
  [
    { model_type: 'qwen2', num_hidden_layers: 1, layer_types: ['sliding_attention'] },
    'layer_types has sliding_attention, but no window is set',
  ],
  [
    { model_type: 'qwen2', num_attention_heads: 14 },
    'num_attention_heads 14 is not divisible by num_key_value_heads 32',
  ],
  [
    { model_type: 'qwen2', rope_scaling: { type: 'yarn', factor: 4 } },
    'rope_type should be one of default, linear, llama3, is "yarn"',
  ],
  [
    { model_type: 'mistral', rope_parameters: { full_attention: { rope_type: 'default' } } },
    'RoPE parameters for each kind of layer (full_attention) are not supported',
  ],
  ...[{ partial_rotary_factor: 0.5 }, { rope_parameters: { partial_rotary_factor: 0.5 } }].map(
    (part): [JsonObject & { model_type: FamilyName }, string] => [
      { model_type: 'llama', ...part },
      'partial_rotary_factor is not supported: RoPE turns the whole head here',
    ],
  ),
])('refused: %j', (config, message) => {
  expect(() => parse(config)).toThrow(new UserError(`config.json: ${message}`));
});
