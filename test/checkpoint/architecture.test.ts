/** What config.json says, what it leaves out, and what is refused. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { readArchitecture } from '../../src/node/checkpoint.ts';
import { UserError } from '../../src/errors.ts';
import { publishedLlava7b, writeConfig } from '../support/checkpoint.ts';
import { makeFolder } from '../support/pictures.ts';

const llama7b = {
  model_type: 'llama',
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 32,
  head_dim: 128,
  hidden_act: 'silu',
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  rope_scaling: { rope_type: 'default' },
  bias: { qkv: false, o: false, mlp: false },
  sliding_window: null,
  tie_word_embeddings: false,
  bos_token_id: 1,
  eos_token_id: [2],
};

const clipLarge336 = {
  model_type: 'clip_vision_model',
  hidden_size: 1024,
  intermediate_size: 4096,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  image_size: 336,
  patch_size: 14,
  hidden_act: 'quick_gelu',
  layer_norm_eps: 1e-5,
};

const clipBase32 = {
  ...clipLarge336,
  hidden_size: 768,
  intermediate_size: 3072,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  image_size: 224,
  patch_size: 32,
};

const clipText32 = {
  vocab_size: 49408,
  hidden_size: 512,
  intermediate_size: 2048,
  num_hidden_layers: 12,
  num_attention_heads: 8,
  max_position_embeddings: 77,
  hidden_act: 'quick_gelu',
  layer_norm_eps: 1e-5,
  bos_token_id: 49406,
  eos_token_id: 49407,
};

describe('defaults', () => {
  test('published LLaVA-1.5-7B, which names three of LLaMA’s values', async () => {
    expect(await readArchitecture(await writeConfig(publishedLlava7b))).toEqual({
      kind: 'llava',
      vision: clipLarge336,
      text: { ...llama7b, vocab_size: 32064, max_position_embeddings: 4096, rms_norm_eps: 1e-5 },
      projector: { kind: 'mlp2x', inner: 1024, out: 4096, hidden_act: 'gelu', bias: true },
      image_token_index: 32000,
      vision_feature_layer: [23], // −2 of the 25 hidden states 0 .. 24
      vision_feature_select_strategy: 'default',
    });
  });

  test('a LLaVA of nothing but its type', async () => {
    expect(await readArchitecture(await writeConfig({ model_type: 'llava' }))).toEqual({
      kind: 'llava',
      vision: clipLarge336,
      text: llama7b,
      projector: { kind: 'mlp2x', inner: 1024, out: 4096, hidden_act: 'gelu', bias: true },
      image_token_index: 32000,
      vision_feature_layer: [23],
      vision_feature_select_strategy: 'default',
    });
  });

  test.each([
    ['llama', { kind: 'decoder', text: llama7b }],
    ['clip', { kind: 'clip', vision: clipBase32, text: clipText32, projection_dim: 512 }],
    ['clip_vision_model', { kind: 'clip', vision: clipBase32 }],
  ])('%s', async (model_type, expected) => {
    expect(await readArchitecture(await writeConfig({ model_type }))).toEqual(expected);
  });

  test.each([
    [undefined, llama7b],
    ['llama', llama7b],
    ['mistral', { model_type: 'mistral', num_key_value_heads: 8, sliding_window: 4096 }],
    ['qwen2', { model_type: 'qwen2', vocab_size: 151936, bias: { qkv: true, o: false, mlp: false } }],
  ])('a decoder of type %s, alone and in a LLaVA', async (model_type, text) => {
    const alone = await readArchitecture(await writeConfig({ model_type: model_type ?? 'llama' }));
    expect(alone).toMatchObject({ kind: 'decoder', text });
    const llava = await writeConfig({ model_type: 'llava', text_config: { model_type } });
    expect(await readArchitecture(llava)).toMatchObject({ kind: 'llava', text });
  });

  test('a CLIP with a text tower and a meeting place of its own', async () => {
    const text_config = { hidden_size: 768, num_attention_heads: 12, vocab_size: 60, eos_token_id: 2 };
    const config = { model_type: 'clip', projection_dim: 96, text_config, vision_config: { patch_size: 16 } };
    expect(await readArchitecture(await writeConfig(config))).toEqual({
      kind: 'clip',
      vision: { ...clipBase32, patch_size: 16 },
      text: { ...clipText32, ...text_config },
      projection_dim: 96,
    });
  });

  test('null is as good as absent', async () => {
    const config = {
      model_type: 'llama',
      num_key_value_heads: null,
      head_dim: null,
      rope_scaling: null,
      rope_parameters: null,
    };
    expect(await readArchitecture(await writeConfig(config))).toEqual({ kind: 'decoder', text: llama7b });
  });

  test('grouped queries, and a head width of its own', async () => {
    const config = { model_type: 'llama', hidden_size: 96, num_attention_heads: 8, num_key_value_heads: 2 };
    const text = { num_key_value_heads: 2, head_dim: 12 };
    expect(await readArchitecture(await writeConfig(config))).toMatchObject({ text });
    const wide = await writeConfig({ ...config, head_dim: 20 });
    expect(await readArchitecture(wide)).toMatchObject({ text: { head_dim: 20 } });
  });

  test.each([
    [-1, [24]],
    [-25, [0]],
    [0, [0]],
    [24, [24]],
    [
      [-2, 1],
      [23, 1],
    ],
  ])('vision_feature_layer %j is hidden state %j', async (vision_feature_layer, expected) => {
    const dir = await writeConfig({ ...publishedLlava7b, vision_feature_layer });
    const architecture = await readArchitecture(dir);
    expect(architecture).toMatchObject({ vision_feature_layer: expected });
    expect(architecture).toMatchObject({ projector: { inner: 1024 * expected.length } });
  });

  test.each([
    ['eos_token_id', 2, [2]],
    ['eos_token_id', [2, 3], [2, 3]],
    ['eos_token_id', null, []],
    ['bos_token_id', null, null],
    ['bos_token_id', 7, 7],
  ])('%s %j', async (key, value, expected) => {
    const dir = await writeConfig({ model_type: 'llama', [key]: value });
    expect(await readArchitecture(dir)).toMatchObject({ text: { [key]: expected } });
  });
});

describe('RoPE, in either generation of configs', () => {
  const llama3 = {
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };
  test.each([
    [{ rope_theta: 5000 }, 5000, { rope_type: 'default' }],
    [{ rope_parameters: { rope_theta: 5000, rope_type: 'default' } }, 5000, { rope_type: 'default' }],
    [
      { rope_theta: 5000, rope_scaling: { type: 'linear', factor: 2 } },
      5000,
      { rope_type: 'linear', factor: 2 },
    ],
    [{ rope_scaling: { rope_type: 'linear', factor: 2 } }, 10000, { rope_type: 'linear', factor: 2 }],
    [
      { rope_parameters: { rope_type: 'llama3', rope_theta: 500000, ...llama3 } },
      500000,
      { rope_type: 'llama3', ...llama3 },
    ],
    [
      { rope_theta: 500000, rope_scaling: { rope_type: 'llama3', ...llama3 } },
      500000,
      { rope_type: 'llama3', ...llama3 },
    ],
  ])('%j', async (config, rope_theta, rope_scaling) => {
    const dir = await writeConfig({ model_type: 'llama', ...config });
    const { text } = (await readArchitecture(dir)) as { text: object };
    expect(text).toEqual({ ...llama7b, rope_theta, rope_scaling });
  });
});

test('of a CLIP config that has a part under its older name too, that one is taken whole, as transformers 5.18 does', async () => {
  const dir = await writeConfig({
    model_type: 'clip',
    vision_config: { hidden_size: 96, image_size: 80 },
    vision_config_dict: { num_hidden_layers: 3, image_size: 64 },
    text_config: { hidden_size: 96, num_attention_heads: 4 },
    text_config_dict: { num_hidden_layers: 3 },
  });
  // CLIPConfig(**json).vision_config and .text_config: what the older name leaves out is a default again.
  expect(await readArchitecture(dir)).toMatchObject({
    vision: { hidden_size: 768, num_hidden_layers: 3, image_size: 64 },
    text: { hidden_size: 512, num_attention_heads: 8, num_hidden_layers: 3 },
  });
});

describe('refusals', () => {
  const llava = publishedLlava7b;

  test.each(['num_hidden_layers', 'image_size'])('a number that would size something: %s', async (key) => {
    for (const value of [1e5, 2e7, 1e9, 4294967296]) {
      const most = key === 'image_size' ? 4096 : 1024;
      const dir = await writeConfig({ ...llava, vision_config: { ...llava.vision_config, [key]: value } });
      await expect(readArchitecture(dir)).rejects.toThrow(
        new UserError(`${dir}/config.json: vision_config: ${key} should be at most ${most}, is ${value}`),
      );
    }
  });

  test.each([
    [{ quantization_config: { quant_method: 'gptq', bits: 4 } }, 'quantization_config: gptq'],
    [{ quantization_config: { quant_method: 'fp8' } }, 'quantization_config: fp8'],
    [{ quantization: { group_size: 64, bits: 4 } }, 'quantization'], // MLX
    [{ text_config: { quantization_config: { quant_method: 'awq' } } }, 'quantization_config: awq'],
  ])('quantised weights: %j', async (change, told) => {
    const dir = await writeConfig({ ...llava, ...change });
    await expect(readArchitecture(dir)).rejects.toThrow(
      new UserError(
        `${dir}/config.json: the weights are quantised (${told}), and only plain float weights are read: ` +
          'take the checkpoint that they were made from',
      ),
    );
  });

  test.each([['llava'], ['llava_llama'], ['llava_mistral']])(
    "the layout of LLaVA's authors: %s",
    async (model_type) => {
      const dir = await writeConfig({
        model_type,
        hidden_size: 4096,
        mm_vision_tower: 'openai/clip-vit-large-patch14-336',
      });
      await expect(readArchitecture(dir)).rejects.toThrow(
        /config\.json has mm_vision_tower, so it is in the layout of the LLaVA authors' own code: vtc convert DIR --to DIR --clip DIR makes one that is read, or take llava-hf\/llava-1\.5-7b-hf, which was converted already$/,
      );
    },
  );

  test('a folder of other weights without a config', async () => {
    const dir = await makeFolder();
    await writeFile(path.join(dir, 'llava-v1.5-7b-Q4_K.gguf'), '');
    await expect(readArchitecture(dir)).rejects.toThrow(
      `${dir} is no checkpoint folder: it has no config.json, but it has llava-v1.5-7b-Q4_K.gguf, llama.cpp's GGUF format`,
    );
  });

  test('more feature layers than there are', async () => {
    const dir = await writeConfig({ ...llava, vision_feature_layer: Array(1e5).fill(-2) });
    await expect(readArchitecture(dir)).rejects.toThrow(
      new UserError(
        `${dir}/config.json: vision_feature_layer is a list of 100000, should name 1 to 25 hidden states`,
      ),
    );
  });

  const llama = { model_type: 'llama' };
  const clip = { model_type: 'clip_vision_model' };

  test('no config.json', async () => {
    const dir = await makeFolder();
    await expect(readArchitecture(dir)).rejects.toThrow(
      new UserError(`${dir} is no checkpoint folder: it has no config.json`),
    );
  });

  test('no folder', async () => {
    const dir = `${await makeFolder()}/nowhere`;
    await expect(readArchitecture(dir)).rejects.toThrow(
      new UserError(`${dir} is no checkpoint folder: it has no config.json`),
    );
  });

  test('not JSON', async () => {
    const dir = await writeConfig('{"model_type": ');
    const refused = readArchitecture(dir);
    await expect(refused).rejects.toThrow(UserError);
    await expect(refused).rejects.toThrow(`${dir}/config.json is not JSON: `);
  });

  const kinds =
    'llava and llava_next (CLIP or SigLIP, and LLaMA, Mistral or Qwen2), vipllava, clip, clip_vision_model, llama, mistral or qwen2';
  const activations = 'one of quick_gelu, gelu, gelu_pytorch_tanh, gelu_new, silu, swish, relu';
  test.each<[unknown, string]>([
    [[1], ' should hold a JSON object'],
    [{}, `: model_type undefined is not supported, only ${kinds}`],
    [{ model_type: 'mllama' }, `: model_type "mllama" is not supported, only ${kinds}`],
    [
      { model_type: 'llava_onevision' },
      ': model_type "llava_onevision" is not supported: its crops are shrunk by interpolation before they are packed, which is not here; ' +
        'llava-hf/llava-interleave-qwen-0.5b-hf has the same tower and decoder without crops, llava-hf/llava-v1.6-mistral-7b-hf has crops',
    ],
    [
      { ...llava, vision_config: { model_type: 'dinov2' } },
      ': vision_config.model_type "dinov2" is not supported, only clip_vision_model or siglip_vision_model',
    ],
    [
      { ...llava, text_config: { model_type: 'qwen3' } },
      ': text_config.model_type "qwen3" is not supported, only llama, mistral or qwen2',
    ],
    [
      { ...llava, text_config: { model_type: 'toString' } },
      ': text_config.model_type "toString" is not supported, only llama, mistral or qwen2',
    ],
    [{ ...llava, text_config: 'llama' }, ': text_config should be an object'],
    [
      { model_type: 'clip', text_config: { hidden_size: 500 } },
      ': text_config: hidden_size 500 is not divisible by num_attention_heads 8',
    ],
    [
      { model_type: 'clip', text_config: { eos_token_id: [2, 3] } },
      ': text_config: eos_token_id should be an integer, is [2,3]',
    ],
    [{ model_type: 'clip', projection_dim: 0 }, ': projection_dim should be a positive integer, is 0'],
    [{ ...clip, num_channels: 1 }, ': num_channels should be 3 (RGB)'],
    [{ ...clip, hidden_size: 770 }, ': hidden_size 770 is not divisible by num_attention_heads 12'],
    [{ ...clip, patch_size: 225 }, ': patch_size 225 is larger than image_size 224'],
    [{ ...clip, hidden_size: '768' }, ': hidden_size should be a positive integer, is "768"'],
    [{ ...clip, num_hidden_layers: 0 }, ': num_hidden_layers should be a positive integer, is 0'],
    [{ ...clip, layer_norm_eps: -1 }, ': layer_norm_eps should be a positive number, is -1'],
    [{ ...clip, hidden_act: 'mish' }, `: hidden_act should be ${activations}, is "mish"`],
    [{ ...llama, hidden_act: 'mish' }, `: hidden_act should be ${activations}, is "mish"`],
    [{ ...llava, projector_hidden_act: 'x' }, `: projector_hidden_act should be ${activations}, is "x"`],
    [
      { ...llama, num_attention_heads: 32, num_key_value_heads: 5 },
      ': num_attention_heads 32 is not divisible by num_key_value_heads 5',
    ],
    [{ ...llama, head_dim: 7 }, ': head_dim 7 is odd; RoPE rotates pairs'],
    [{ ...llama, vocab_size: 1.5 }, ': vocab_size should be a positive integer, is 1.5'],
    [{ ...llama, attention_bias: 'no' }, ': attention_bias should be true or false, is "no"'],
    [{ ...llama, eos_token_id: ['</s>'] }, ': eos_token_id should be a token id or a list of them'],
    [
      { ...llama, rope_scaling: { rope_type: 'yarn', factor: 2 } },
      ': rope_type should be one of default, linear, llama3, is "yarn"',
    ],
    [
      { ...llama, rope_parameters: { rope_type: 'dynamic' } },
      ': rope_type should be one of default, linear, llama3, is "dynamic"',
    ],
    [{ ...llama, rope_scaling: { type: 'linear' } }, ': factor is missing'],
    [{ ...llama, rope_scaling: { type: 'llama3', factor: 8 } }, ': low_freq_factor is missing'],
    [{ ...llama, rope_scaling: 2 }, ': rope_scaling should be an object'],
    [{ ...llava, vision_feature_layer: 25 }, ': vision_feature_layer 25 is not one of the 25 hidden states'],
    [
      { ...llava, vision_feature_layer: -26 },
      ': vision_feature_layer -26 is not one of the 25 hidden states',
    ],
    [
      { ...llava, vision_feature_layer: [-2, 99] },
      ': vision_feature_layer 99 is not one of the 25 hidden states',
    ],
    [
      { ...llava, vision_feature_layer: 1.5 },
      ': vision_feature_layer 1.5 is not one of the 25 hidden states',
    ],
    [
      { ...llava, vision_feature_layer: '-2' },
      ': vision_feature_layer "-2" is not one of the 25 hidden states',
    ],
    [
      { ...llava, vision_feature_select_strategy: 'cls' },
      ': vision_feature_select_strategy should be one of default, full, is "cls"',
    ],
    [
      { ...llava, mm_projector_type: 'mlp3x_gelu' },
      ': mm_projector_type should be one of linear, mlp2x_gelu, is "mlp3x_gelu"',
    ],
  ])('%j', async (config, message) => {
    const dir = await writeConfig(config);
    await expect(readArchitecture(dir)).rejects.toThrow(new UserError(`${dir}/config.json${message}`));
  });
});
