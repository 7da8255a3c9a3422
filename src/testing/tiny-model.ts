/** A LLaVA small enough to run a hundred times a second, of random weights: what it answers is noise, every step is real. */
import type * as tf from '@tensorflow/tfjs-core';
import type { LlavaConfig } from '../checkpoint/architecture.ts';
import type { Llava } from '../checkpoint/load.ts';
import { llamaTable } from '../decoder/weights.ts';
import type { Leaf, Loaded } from '../io/weight-table.ts';
import { projectorTable } from '../projector.ts';
import type { Random } from '../random.ts';
import { clipContrastTable, type Clip } from '../vision/contrastive.ts';
import type { ClipTextConfig } from '../vision/text-config.ts';
import { clipTextTable } from '../vision/text.ts';
import { clipVisionTable } from '../vision/weights.ts';

/** A multiple of 2⁻¹⁰ in [−1, 1): exact in float32. */
export const exactNumber = (random: Random): number => Math.floor((2 * random() - 1) * 1024) / 1024;

/** Fills a checkpoint table with random weights; matrices are scaled so that layers keep the size of their input. */
export function randomWeights<T extends object>(random: Random, table: T): Loaded<T> {
  const fill = (node: unknown): unknown => {
    if (typeof node !== 'object' || node === null) return node;
    if ('leaf' in node) {
      const leaf = node as Leaf<tf.Tensor>;
      const { shape, multiplies } = leaf;
      const size = shape.reduce((product, n) => product * n, 1);
      const scale = multiplies ? 2 / Math.sqrt(size / shape[0]) : 1;
      return leaf.build(Float32Array.from({ length: size }, () => scale * exactNumber(random)));
    }
    if (Array.isArray(node)) return node.map(fill);
    return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, fill(child)]));
  };
  return fill(table) as Loaded<T>;
}

const S = 2; // a patch's side
/** Of the 8 ids, 7 is the highest and ends a text in either convention. */
export const smallTextConfig: ClipTextConfig = {
  vocab_size: 8,
  hidden_size: 8,
  intermediate_size: 7,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  max_position_embeddings: 9,
  hidden_act: 'quick_gelu',
  layer_norm_eps: 0.03,
  bos_token_id: 0,
  eos_token_id: 7,
};

/** Of G × G patches; 4 layers of the tower, whose last but one is selected, and 4 of the decoder. */
export const smallConfig = (G: number): LlavaConfig => ({
  kind: 'llava',
  vision: {
    model_type: 'clip_vision_model',
    hidden_size: 6,
    intermediate_size: 7,
    num_hidden_layers: 4,
    num_attention_heads: 2,
    image_size: S * G,
    patch_size: S,
    hidden_act: 'quick_gelu',
    layer_norm_eps: 0.03,
  },
  text: {
    model_type: 'llama',
    vocab_size: 19,
    hidden_size: 8,
    intermediate_size: 9,
    num_hidden_layers: 4,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 4,
    hidden_act: 'silu',
    max_position_embeddings: 64,
    rms_norm_eps: 0.03,
    rope_theta: 100,
    rope_scaling: { rope_type: 'default' },
    bias: { qkv: false, o: false, mlp: false },
    sliding_window: null,
    tie_word_embeddings: false,
    bos_token_id: 1,
    eos_token_id: [2],
  },
  projector: { kind: 'mlp2x', inner: 6, out: 8, hidden_act: 'gelu', bias: true },
  image_token_index: 18,
  vision_feature_layer: [3],
  vision_feature_select_strategy: 'default',
});

/** The model, and the CLIP whose text tower reads the question. The caller disposes it. */
export function smallModel(random: Random, G: number): Llava {
  const config = smallConfig(G);
  const { vision, text, projector } = config;
  const tower = { config: vision, weights: randomWeights(random, clipVisionTable(vision, '')) };
  const clip: Clip = {
    vision: tower,
    text: { config: smallTextConfig, weights: randomWeights(random, clipTextTable(smallTextConfig, '')) },
    weights: randomWeights(random, clipContrastTable(vision.hidden_size, smallTextConfig.hidden_size, 5)),
  };
  return {
    config,
    vision: tower,
    projector: { config: projector, weights: randomWeights(random, projectorTable(projector)) },
    decoder: { config: text, weights: randomWeights(random, llamaTable(text, '', 'lm_head')) },
    clip,
  };
}
