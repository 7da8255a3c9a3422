/** `weights/clip`, a folder that transformers' `CLIPModel` loads. */
import { readArchitecture } from '../node/checkpoint.ts';
import type { ClipConfig } from '../checkpoint/architecture.ts';
import { weightTable } from '../checkpoint/names.ts';
import { storeTree } from '../io/weight-table.ts';
import { writeJsonFiles } from '../node/files.ts';
import type { Clip } from '../vision/contrastive.ts';
import { side } from '../world/scene.ts';
import { captionLength, clipTokenizer } from '../world/vocabulary.ts';
import { preprocessorConfig, writeWeights } from './folder.ts';
import type { ClipRecipe } from './recipe.ts';

/** 10 × 10 patches of a scene. */
export const patchSize = 8;

/** Writes all of the folder but the weights, and reads back what it describes. */
export async function startClipFolder(dir: string, recipe: ClipRecipe): Promise<ClipConfig> {
  const tokenizer = clipTokenizer();
  const { vocab } = (tokenizer as { model: { vocab: Record<string, number> } }).model;
  const [bos, eos] = ['<|startoftext|>', '<|endoftext|>'];
  const shared = { hidden_act: 'quick_gelu', layer_norm_eps: 1e-5, projection_dim: recipe.projection_dim };
  await writeJsonFiles(dir, {
    'config.json': {
      architectures: ['CLIPModel'],
      model_type: 'clip',
      dtype: 'float16',
      projection_dim: recipe.projection_dim,
      logit_scale_init_value: Math.log(1 / 0.07),
      vision_config: {
        model_type: 'clip_vision_model',
        ...recipe.vision,
        ...shared,
        image_size: side,
        patch_size: patchSize,
      },
      text_config: {
        model_type: 'clip_text_model',
        ...recipe.text,
        ...shared,
        vocab_size: Object.keys(vocab).length,
        max_position_embeddings: captionLength,
        bos_token_id: vocab[bos],
        eos_token_id: vocab[eos],
        pad_token_id: vocab[eos],
      },
    },
    'preprocessor_config.json': preprocessorConfig(side),
    'tokenizer.json': tokenizer,
    'tokenizer_config.json': {
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: bos,
      eos_token: eos,
      pad_token: eos,
      unk_token: '<unk>',
      model_max_length: captionLength,
      clean_up_tokenization_spaces: false,
    },
  });
  const config = await readArchitecture(dir);
  if (config.kind !== 'clip' || !config.text) throw new Error(`${dir} should describe a whole CLIP`);
  return config;
}

/** Writes the folder's weights. */
export async function writeClipWeights(
  dir: string,
  config: ClipConfig,
  clip: Clip,
  metadata: Record<string, string>,
): Promise<void> {
  const { vision, text, contrast } = weightTable(config);
  await writeWeights(
    dir,
    await storeTree(
      { vision, text, contrast },
      { vision: clip.vision.weights, text: clip.text.weights, contrast: clip.weights },
    ),
    metadata,
  );
}
