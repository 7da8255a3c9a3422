import fc from 'fast-check';
import type { LlavaConfig } from '../../src/checkpoint/architecture.ts';
import type { Llava } from '../../src/checkpoint/load.ts';
import type { DecoderConfig } from '../../src/decoder/config.ts';
import type { Llama } from '../../src/decoder/llama.ts';
import { llamaTable } from '../../src/decoder/weights.ts';
import { projectorTable, type Projector, type ProjectorConfig } from '../../src/projector.ts';
import { activationNames } from '../../src/tensor/activation.ts';
import type { ClipVision } from '../../src/vision/clip.ts';
import type { ClipVisionConfig } from '../../src/vision/config.ts';
import { clipContrastTable, type Clip } from '../../src/vision/contrastive.ts';
import type { ClipTextConfig } from '../../src/vision/text-config.ts';
import { clipTextTable, type ClipText } from '../../src/vision/text.ts';
import { clipVisionTable } from '../../src/vision/weights.ts';
import { randomWeights, smallConfig, smallTextConfig } from '../../src/testing/tiny-model.ts';
import { axis, type Random } from './random.ts';

export { randomWeights };

/**
 * Small towers of every shape. The norms' eps is large, so that a variance near 0 does not blow float32's rounding up
 * (1/√eps times) and a forgotten eps shows.
 */
export const visionConfigs: fc.Arbitrary<ClipVisionConfig> = fc
  .record({
    heads: axis(3),
    channels: axis(3),
    grid: axis(3),
    patch: axis(3),
    rest: fc.nat(2),
    inner: axis(5),
    layers: axis(3),
    act: fc.constantFrom(...activationNames),
  })
  .map(({ heads, channels, grid, patch, rest, inner, layers, act }) => ({
    model_type: 'clip_vision_model',
    hidden_size: heads * channels,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    image_size: grid * patch + Math.min(rest, patch - 1),
    patch_size: patch,
    hidden_act: act,
    layer_norm_eps: 0.03,
  }));

/** Small text towers; the end of a text is one token, or the highest of the row (`eos_token_id` 2). */
export const textConfigs: fc.Arbitrary<ClipTextConfig> = fc
  .record({
    heads: axis(3),
    channels: axis(3),
    inner: axis(5),
    layers: axis(3),
    act: fc.constantFrom(...activationNames),
    eos: fc.constantFrom(2, 7),
  })
  .map(({ heads, channels, inner, layers, act, eos }) => ({
    ...tinyTextConfig,
    hidden_size: heads * channels,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    hidden_act: act,
    eos_token_id: eos,
  }));

export const llamaConfigs: fc.Arbitrary<DecoderConfig> = fc
  .record({
    keyHeads: axis(2),
    share: axis(3),
    halfChannels: axis(3),
    width: axis(7),
    inner: axis(5),
    layers: axis(3),
    vocabulary: fc.integer({ min: 2, max: 11 }),
    bias: fc.record({ qkv: fc.boolean(), o: fc.boolean(), mlp: fc.boolean() }),
    scaling: fc.constantFrom<DecoderConfig['rope_scaling']>(
      { rope_type: 'default' },
      { rope_type: 'linear', factor: 2 },
      {
        rope_type: 'llama3',
        factor: 4,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 16,
      },
    ),
  })
  .map(({ keyHeads, share, halfChannels, width, inner, layers, vocabulary, bias, scaling }) => ({
    ...tinyLlamaConfig,
    vocab_size: vocabulary,
    hidden_size: width,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: keyHeads * share,
    num_key_value_heads: keyHeads,
    head_dim: 2 * halfChannels,
    rope_scaling: scaling,
    bias,
  }));

/** P = 16 patches in a grid of 4 × 4, D = 6, L = 4 layers; one pixel column and row are beyond the grid. */
export const tinyVisionConfig: ClipVisionConfig = { ...smallConfig(4).vision, image_size: 9 };

/** Of the 8 ids, 7 is the highest and ends a text in either convention. D = 8, L = 2 layers. */
export const tinyTextConfig: ClipTextConfig = { ...smallTextConfig, num_hidden_layers: 2 };

/** E = 8, H = 4 query heads on G = 2 key/value heads, L = 3 layers, V = 19. */
export const tinyLlamaConfig: DecoderConfig = { ...smallConfig(4).text, num_hidden_layers: 3 };

export function tinyVision(random: Random, config = tinyVisionConfig): ClipVision {
  return { config, weights: randomWeights(random, clipVisionTable(config, '')) };
}

export function tinyText(random: Random, config = tinyTextConfig): ClipText {
  return { config, weights: randomWeights(random, clipTextTable(config, '')) };
}

/** A whole CLIP, whose two towers differ in width and meet in `projection_dim` numbers. */
export function tinyClip(random: Random, vision = tinyVisionConfig, text = tinyTextConfig): Clip {
  const projection_dim = 5;
  return {
    vision: tinyVision(random, vision),
    text: tinyText(random, text),
    weights: randomWeights(random, clipContrastTable(vision.hidden_size, text.hidden_size, projection_dim)),
  };
}

export function tinyLlama(random: Random, config = tinyLlamaConfig): Llama {
  return { config, weights: randomWeights(random, llamaTable(config, '', 'lm_head')) };
}

export function tinyProjector(random: Random, config: ProjectorConfig): Projector {
  return { config, weights: randomWeights(random, projectorTable(config)) };
}

/** A whole model; its features are `hidden[-2]`, the output of layer 2 of 0 .. 3. */
export function tinyLlava(random: Random, overrides: Partial<LlavaConfig> = {}): Llava {
  const vision_feature_layer = overrides.vision_feature_layer ?? [tinyVisionConfig.num_hidden_layers - 1];
  const config: LlavaConfig = {
    kind: 'llava',
    vision: tinyVisionConfig,
    text: tinyLlamaConfig,
    projector: {
      kind: 'mlp2x',
      inner: tinyVisionConfig.hidden_size * vision_feature_layer.length,
      out: tinyLlamaConfig.hidden_size,
      hidden_act: 'gelu',
      bias: true,
    },
    image_token_index: 18,
    vision_feature_layer,
    vision_feature_select_strategy: 'default',
    ...overrides,
  };
  return {
    config,
    vision: tinyVision(random, config.vision),
    projector: tinyProjector(random, config.projector),
    decoder: tinyLlama(random, config.text),
  };
}
