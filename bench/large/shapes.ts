/** The models that are measured at their true size: what their published config.json says of the architecture. */
import { clipLarge336 } from '../../src/checkpoint/architecture.ts';

const llava = (text: Record<string, unknown>) => ({
  architectures: ['LlavaForConditionalGeneration'],
  model_type: 'llava',
  image_token_index: 32000,
  projector_hidden_act: 'gelu',
  vision_feature_layer: -2,
  vision_feature_select_strategy: 'default',
  tie_word_embeddings: false,
  torch_dtype: 'bfloat16',
  vision_config: { model_type: 'clip_vision_model', ...clipLarge336, projection_dim: 768 },
  text_config: {
    model_type: 'llama',
    vocab_size: 32064,
    rms_norm_eps: 1e-5,
    torch_dtype: 'bfloat16',
    ...text,
  },
});

/** By the name that `--only` takes. */
export const largeShapes = {
  /** llava-hf/llava-1.5-7b-hf */
  'llava-7b': llava({
    hidden_size: 4096,
    intermediate_size: 11008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    max_position_embeddings: 4096,
  }),
  /** llava-hf/llava-1.5-13b-hf */
  'llava-13b': llava({
    hidden_size: 5120,
    intermediate_size: 13824,
    num_hidden_layers: 40,
    num_attention_heads: 40,
    max_position_embeddings: 4096,
  }),
  /** bczhou/tiny-llava-v1-hf */
  'tinyllava': llava({
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 22,
    num_attention_heads: 32,
    num_key_value_heads: 4,
    max_position_embeddings: 2048,
  }),
};

export type LargeName = keyof typeof largeShapes;

export const isLargeName = (name: unknown): name is LargeName =>
  typeof name === 'string' && Object.hasOwn(largeShapes, name);

/** The same with fewer decoder layers. */
export function sliceOf(name: LargeName, layers?: number) {
  const shape = largeShapes[name];
  if (layers === undefined) return shape;
  return { ...shape, text_config: { ...shape.text_config, num_hidden_layers: layers } };
}
