/**
 * The layout of the LLaVA authors' own code (github.com/haotian-liu/LLaVA), as LLaVA-1.5 was first published: LLaMA's names and
 * config with the projector among them, and a vision tower that is named, not held. What it is in Hugging Face's layout:
 *
 *     model.mm_projector.0, .2                   multi_modal_projector.linear_1, .linear_2
 *     model.vision_tower.vision_tower.…          vision_tower.…                       where the file holds it, else CLIP's own
 *     model.…, lm_head.…                         language_model.model.…, language_model.lm_head.…
 *
 * and a vocabulary that is two words larger, `<image>` and `<pad>`, filled up to a multiple of 64 as transformers'
 * convert_llava_weights_to_hf.py fills it. Nothing reads the new rows: a picture's tokens stand in place of `<image>`.
 */
import { UserError } from '../errors.ts';
import { isObject, type JsonObject } from '../json.ts';

/** The key by which a config.json is seen to be theirs, where it is. */
export const authorsKey = (json: JsonObject): string | undefined =>
  isObject(json['text_config'])
    ? undefined
    : ['mm_vision_tower', 'mm_hidden_size'].find((key) => key in json);

/** The name that a tensor of theirs has in Hugging Face's layout. */
export function renameAuthors(name: string): string {
  return name
    .replace(/^model\.mm_projector\.(0\.)?(?=weight$|bias$)/, 'multi_modal_projector.linear_1.')
    .replace(/^model\.mm_projector\.2\./, 'multi_modal_projector.linear_2.')
    .replace(/^model\.vision_tower\.vision_tower\./, 'vision_tower.')
    .replace(/^(?=model\.|lm_head\.)/, 'language_model.');
}

/** The name that a tensor of a CLIP has there; undefined for what is not the vision tower's. */
export function renameClip(name: string): string | undefined {
  if (/^vision_model\.(?!.*position_ids$)/.test(name)) return `vision_tower.${name}`;
  return /^(embeddings|encoder|pre_layrnorm|post_layernorm)\.(?!position_ids$)/.test(name)
    ? `vision_tower.vision_model.${name}`
    : undefined;
}

/** Words that the vocabulary gains. */
export const addedWords = ['<image>', '<pad>'];

/** How many rows it then has. */
export const grownVocabulary = (V: number): number => Math.ceil((V + addedWords.length) / 64) * 64;

/** Their decoders' model_type, and Hugging Face's. */
const decoders: Record<string, string> = {
  llava: 'llama',
  llava_llama: 'llama',
  llama: 'llama',
  llava_mistral: 'mistral',
  mistral: 'mistral',
  llava_qwen: 'qwen2',
};

/** What CLIP's config says of its vision tower. */
const visionKeys = [
  'hidden_size',
  'intermediate_size',
  'num_hidden_layers',
  'num_attention_heads',
  'image_size',
  'patch_size',
  'hidden_act',
  'layer_norm_eps',
  'projection_dim',
];

/** Numbers that transformers wants to be written with a point, also where they are whole. */
export const floatKeys = [
  'rope_theta',
  'factor',
  'low_freq_factor',
  'high_freq_factor',
  'rms_norm_eps',
  'layer_norm_eps',
];

/** What a decoder's config says of it. */
const decoderKeys = [
  'hidden_size',
  'intermediate_size',
  'num_hidden_layers',
  'num_attention_heads',
  'num_key_value_heads',
  'hidden_act',
  'max_position_embeddings',
  'rms_norm_eps',
  'rope_theta',
  'rope_scaling',
  'sliding_window',
  'use_sliding_window',
  'max_window_layers',
  'bos_token_id',
  'eos_token_id',
  'torch_dtype',
];

/**
 * Their config in Hugging Face's words.
 * @param vision CLIP's own config
 * @throws UserError for what it has no words for
 */
export function convertConfig(json: JsonObject, vision: JsonObject, file: string): JsonObject {
  const type = String(json['model_type']);
  if (!Object.hasOwn(decoders, type)) {
    throw new UserError(
      `${file}: a decoder of type ${type} is not converted, only ${Object.keys(decoders).join(', ')}`,
    );
  }
  const aspect = json['image_aspect_ratio'] ?? 'square';
  if (aspect !== 'square' && aspect !== 'pad') {
    throw new UserError(
      `${file}: image_aspect_ratio ${JSON.stringify(aspect)} is LLaVA-NeXT's, which is not converted: take one that was, such as ` +
        'llava-hf/llava-v1.6-vicuna-7b-hf',
    );
  }
  const projector = json['mm_projector_type'] ?? 'linear';
  if (projector !== 'linear' && projector !== 'mlp2x_gelu') {
    throw new UserError(
      `${file}: mm_projector_type ${JSON.stringify(projector)} is not converted, only linear and mlp2x_gelu`,
    );
  }
  const V = json['vocab_size'];
  if (!Number.isSafeInteger(V)) throw new UserError(`${file}: vocab_size should be a whole number`);
  const pick = (from: JsonObject, keys: readonly string[]) =>
    Object.fromEntries(keys.flatMap((key) => (from[key] === undefined ? [] : [[key, from[key]]])));
  return {
    architectures: ['LlavaForConditionalGeneration'],
    model_type: 'llava',
    image_token_index: V as number,
    projector_hidden_act: 'gelu',
    mm_projector_type: projector,
    vision_feature_layer: json['mm_vision_select_layer'] ?? -2,
    vision_feature_select_strategy: json['mm_vision_select_feature'] === 'cls_patch' ? 'full' : 'default',
    tie_word_embeddings: false,
    pad_token_id: (V as number) + 1,
    torch_dtype: json['torch_dtype'] ?? 'float16',
    vision_config: { model_type: 'clip_vision_model', ...pick(vision, visionKeys) },
    text_config: {
      model_type: decoders[type],
      ...pick(json, decoderKeys),
      vocab_size: grownVocabulary(V as number),
    },
  };
}
