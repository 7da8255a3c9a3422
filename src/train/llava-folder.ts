/** `weights/llava`, a folder that transformers' `LlavaForConditionalGeneration` loads. */
import { readArchitecture } from '../node/checkpoint.ts';
import type { LlavaConfig } from '../checkpoint/architecture.ts';
import type { Llava } from '../checkpoint/load.ts';
import { weightTable } from '../checkpoint/names.ts';
import { norm, storeTree } from '../io/weight-table.ts';
import { writeJsonFiles } from '../node/files.ts';
import type { LayerNorm } from '../tensor/norm.ts';
import type { ClipVisionConfig } from '../vision/config.ts';
import { side } from '../world/scene.ts';
import { llavaTokenizer } from '../world/vocabulary.ts';
import { preprocessorConfig, writeWeights } from './folder.ts';
import type { LlavaRecipe } from './recipe.ts';

/** Writes all of the folder but the weights, and reads back what it describes. */
export async function startLlavaFolder(
  dir: string,
  recipe: Pick<LlavaRecipe, 'decoder'>,
  vision: ClipVisionConfig,
  tokenizer = llavaTokenizer(),
): Promise<LlavaConfig> {
  const { vocab } = (tokenizer as { model: { vocab: Record<string, number> } }).model;
  const ids = { bos_token_id: vocab['<s>'], eos_token_id: vocab['</s>'], pad_token_id: vocab['<pad>'] };
  await writeJsonFiles(dir, {
    'config.json': {
      architectures: ['LlavaForConditionalGeneration'],
      model_type: 'llava',
      dtype: 'float16',
      image_token_index: vocab['<image>'],
      image_seq_length: (vision.image_size / vision.patch_size) ** 2,
      projector_hidden_act: 'gelu',
      multimodal_projector_bias: true,
      vision_feature_layer: -2,
      vision_feature_select_strategy: 'default',
      tie_word_embeddings: false,
      vision_config: vision,
      text_config: {
        model_type: 'llama',
        ...recipe.decoder,
        ...ids,
        hidden_act: 'silu',
        rms_norm_eps: 1e-5,
        rope_theta: 10000,
        vocab_size: Object.keys(vocab).length,
        tie_word_embeddings: false,
      },
    },
    'generation_config.json': ids,
    'preprocessor_config.json': preprocessorConfig(side),
    'processor_config.json': {
      processor_class: 'LlavaProcessor',
      patch_size: vision.patch_size,
      vision_feature_select_strategy: 'default',
      num_additional_image_tokens: 1, // [CLS], which the strategy drops again
      image_token: '<image>',
    },
    'tokenizer.json': tokenizer,
    'tokenizer_config.json': {
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: '<s>',
      eos_token: '</s>',
      pad_token: '<pad>',
      unk_token: '<unk>',
      image_token: '<image>',
      model_max_length: recipe.decoder.max_position_embeddings,
      clean_up_tokenization_spaces: false,
    },
  });
  const config = await readArchitecture(dir);
  if (config.kind !== 'llava') throw new Error(`${dir} should describe a LLaVA`);
  return config;
}

/**
 * Writes the folder's weights.
 * @param postLayernorm CLIP's norm of [CLS]: LLaVA never reads it, but transformers wants a whole tower
 */
export async function writeLlavaWeights(
  dir: string,
  model: Llava,
  postLayernorm: LayerNorm,
  metadata: Record<string, string>,
): Promise<void> {
  const { vision, projector, decoder } = weightTable(model.config);
  const unread = norm('vision_tower.vision_model.post_layernorm', model.config.vision.hidden_size);
  await writeWeights(
    dir,
    await storeTree(
      { vision, projector, decoder, unread },
      {
        vision: model.vision.weights,
        projector: model.projector.weights,
        decoder: model.decoder.weights,
        unread: postLayernorm,
      },
    ),
    metadata,
  );
}
