import path from 'node:path';
import { readArchitecture } from '../../src/node/checkpoint.ts';
import { weightTable } from '../../src/checkpoint/names.ts';
import { createRandom, drawNormal, type Random } from '../../src/random.ts';
import { writeJsonFiles } from '../../src/node/files.ts';
import { writeSafetensors } from '../../src/node/safetensors.ts';
import type { TensorToWrite } from '../../src/io/safetensors.ts';
import { leavesOf } from '../../src/io/weight-table.ts';

const specials = ['<unk>', '<s>', '</s>', '<image>'];
const characters = ['▁', ...Array.from({ length: 94 }, (_, i) => String.fromCharCode(0x21 + i))];
const vocabulary = [...specials, ...characters];

/** A small LLaVA: 144 patches of a 96-pixel picture, 6 vision layers, 4 decoder layers, 0.6 M parameters. */
const config = {
  model_type: 'llava',
  image_token_index: specials.indexOf('<image>'),
  vision_feature_layer: -2,
  vision_feature_select_strategy: 'default',
  vision_config: {
    model_type: 'clip_vision_model',
    hidden_size: 64,
    intermediate_size: 256,
    num_hidden_layers: 6,
    num_attention_heads: 4,
    image_size: 96,
    patch_size: 8,
  },
  text_config: {
    model_type: 'llama',
    vocab_size: vocabulary.length,
    hidden_size: 80,
    intermediate_size: 216,
    num_hidden_layers: 4,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 512,
    rms_norm_eps: 1e-5,
  },
};

/** One token a character, in the layout of LLaMA's tokenizer.json. */
const tokenizer = {
  version: '1.0',
  added_tokens: specials.map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  })),
  normalizer: {
    type: 'Sequence',
    normalizers: [
      { type: 'Prepend', prepend: '▁' },
      { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    ],
  },
  pre_tokenizer: null,
  post_processor: null,
  decoder: {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 },
    ],
  },
  model: {
    type: 'BPE',
    unk_token: '<unk>',
    fuse_unk: false,
    byte_fallback: false,
    vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
    merges: [],
  },
};

/**
 * Writes a LLaVA folder with seeded random weights, as Hugging Face would: config, tokenizer, weights. Its answers
 * are noise; every step that leads to them is real.
 */
export async function writeRandomLlava(dir: string, seed: number): Promise<void> {
  await writeJsonFiles(dir, { 'config.json': config, 'tokenizer.json': tokenizer });
  const random = createRandom(seed);
  const tensors: Record<string, TensorToWrite> = {};
  for (const { name, shape } of leavesOf(weightTable(await readArchitecture(dir)))) {
    tensors[name] = { dtype: 'F32', shape, data: randomWeights(random, name, shape) };
  }
  await writeSafetensors(path.join(dir, 'model.safetensors'), tensors, { format: 'pt' });
}

/** Gains are 1, biases 0; a matrix [out, in] has deviation 1/√in, queries and keys more, so that attention is uneven. */
function randomWeights(random: Random, name: string, shape: number[]): Float32Array {
  const size = shape.reduce((product, n) => product * n, 1);
  if (name.endsWith('.bias')) return new Float32Array(size);
  if (/norm\w*\.weight$/.test(name)) return new Float32Array(size).fill(1);
  const fanIn = /embed/.test(name) && !/patch/.test(name) ? 4 : size / shape[0];
  const gain = /[qk]_proj/.test(name) ? 2 : 1;
  return Float32Array.from({ length: size }, () => (gain * drawNormal(random)) / Math.sqrt(fanIn));
}
