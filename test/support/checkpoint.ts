/** Small checkpoint folders made from a golden one, right or wrong. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { openSafetensors, writeSafetensors } from '../../src/node/safetensors.ts';
import { golden } from './golden.ts';
import { makeFolder } from './pictures.ts';

export interface Values {
  shape: number[];
  data: Float32Array;
}

export interface Checkpoint {
  config: Record<string, unknown>;
  weights: Map<string, Values>;
}

/** A golden folder's config and weights, to be changed at will. */
export async function readCheckpoint(name: string): Promise<Checkpoint> {
  const dir = golden(name);
  const config = JSON.parse(await readFile(path.join(dir, 'config.json'), 'utf8')) as Checkpoint['config'];
  const file = await openSafetensors(path.join(dir, 'model.safetensors'));
  const weights = new Map<string, Values>();
  for (const [tensor, { shape }] of file.tensors) {
    weights.set(tensor, { shape: [...shape], data: await file.readFloat32(tensor) });
  }
  await file.close();
  return { config, weights };
}

/** Writes a checkpoint as a folder, gone when the test is over. */
export async function writeCheckpoint({ config, weights }: Checkpoint): Promise<string> {
  const dir = await makeFolder();
  await writeFile(path.join(dir, 'config.json'), JSON.stringify(config));
  const tensors = [...weights].map(([name, values]) => [name, { dtype: 'F32' as const, ...values }] as const);
  await writeSafetensors(path.join(dir, 'model.safetensors'), new Map(tensors));
  return dir;
}

/** A folder with this `config.json` and nothing else. */
export async function writeConfig(config: unknown): Promise<string> {
  const dir = await makeFolder();
  await writeFile(
    path.join(dir, 'config.json'),
    typeof config === 'string' ? config : JSON.stringify(config),
  );
  return dir;
}

/** The whole of llava-1.5-7b's published config.json that says anything about the architecture. */
export const publishedLlava7b = {
  architectures: ['LlavaForConditionalGeneration'],
  ignore_index: -100,
  image_token_index: 32000,
  model_type: 'llava',
  pad_token_id: 32001,
  projector_hidden_act: 'gelu',
  text_config: {
    architectures: ['LlamaForCausalLM'],
    max_position_embeddings: 4096,
    model_type: 'llama',
    rms_norm_eps: 1e-5,
    torch_dtype: 'float16',
    vocab_size: 32064,
  },
  tie_word_embeddings: false,
  torch_dtype: 'float16',
  vision_config: {
    hidden_size: 1024,
    image_size: 336,
    intermediate_size: 4096,
    model_type: 'clip_vision_model',
    num_attention_heads: 16,
    num_hidden_layers: 24,
    patch_size: 14,
    projection_dim: 768,
    vocab_size: 32000,
  },
  vision_feature_layer: -2,
  vision_feature_select_strategy: 'default',
  vocab_size: 32064,
};
