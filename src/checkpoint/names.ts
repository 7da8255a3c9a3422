import { llamaTable, unusedLlamaNames } from '../decoder/weights.ts';
import { UserError } from '../errors.ts';
import type { TensorInfo } from '../io/safetensors.ts';
import type { WeightFiles } from '../io/sharded.ts';
import type { TensorSource } from '../io/weight-table.ts';
import { projectorTable } from '../projector.ts';
import { clipVisionTable, unusedVisionNames } from '../vision/weights.ts';
import type { Architecture } from './architecture.ts';

/**
 * The generations of key names, mapped to the published one:
 *
 *     published LLaVA-1.5         vision_tower.vision_model.…  language_model.model.…  language_model.lm_head.…
 *     transformers 5, in memory   model.vision_tower.…         model.language_model.…  lm_head.…
 *     transformers 5, saved       vision_tower.…               language_model.model.…  language_model.lm_head.…
 *     CLIPModel                   vision_model.…
 *     CLIPVisionModel             vision_model.…, from transformers 5 on no prefix at all
 */
const renames: Record<Architecture['kind'], [RegExp, string][]> = {
  llava: [
    [/^model\.(?=vision_tower\.|multi_modal_projector\.|language_model\.)/, ''],
    [/^vision_tower\.(?!vision_model\.)/, 'vision_tower.vision_model.'],
    [/^language_model\.(?!model\.|lm_head\.)/, 'language_model.model.'],
    [/^lm_head\./, 'language_model.lm_head.'],
  ],
  clip: [[/^(?=(embeddings|encoder|pre_layrnorm|post_layernorm)\.)/, 'vision_model.']],
  llama: [[/^(?=(embed_tokens|layers|norm)\.)/, 'model.']], // a bare LlamaModel
};

/** The input and the output embedding's names. */
const decoderNames = {
  llava: ['language_model.model.embed_tokens', 'language_model.lm_head'],
  llama: ['model.embed_tokens', 'lm_head'],
};

/** A folder's tensors under the published names; each still knows the name it has in its file. */
export function publishedNames(files: WeightFiles, architecture: Architecture): TensorSource {
  const { kind } = architecture;
  const tensors = new Map<string, TensorInfo>();
  for (const info of files.tensors.values()) {
    const name = renames[kind].reduce((current, [from, to]) => current.replace(from, to), info.name);
    const other = tensors.get(name);
    if (other) {
      throw new UserError(`${files.dir}: tensors ${other.name} and ${info.name} are two names of one weight`);
    }
    tensors.set(name, info);
  }
  if (kind !== 'clip' && architecture.text.tie_word_embeddings) {
    // One matrix under two names. transformers fills in whichever is missing and, where both are there, reads both.
    const tied = decoderNames[kind].map((name) => `${name}.weight`);
    const info = tied.map((name) => tensors.get(name)).find((found) => found !== undefined);
    for (const name of tied) if (info && !tensors.has(name)) tensors.set(name, info);
  }
  const inFile = (name: string) => tensors.get(name)?.name ?? name;
  return { dir: files.dir, tensors, readFloat32: (name) => files.readFloat32(inFile(name)) };
}

/** The tree of weights that an architecture loads, under the published names. */
export function weightTable(architecture: Architecture) {
  const { kind } = architecture;
  return {
    vision:
      kind === 'llama'
        ? undefined
        : clipVisionTable(
            architecture.vision,
            kind === 'llava' ? 'vision_tower.vision_model.' : 'vision_model.',
          ),
    projector: kind === 'llava' ? projectorTable(architecture.projector) : undefined,
    decoder:
      kind === 'clip'
        ? undefined
        : kind === 'llava'
          ? llamaTable(architecture.text, 'language_model.model.', 'language_model.lm_head')
          : llamaTable(architecture.text, 'model.', 'lm_head'),
  };
}

/** Names that an architecture's files may hold and that are not loaded. */
export function unusedNames(architecture: Architecture): RegExp {
  const unused = [unusedVisionNames, unusedLlamaNames];
  if (architecture.kind === 'clip')
    unused.push(/^(text_model\.|text_projection\.|visual_projection\.|logit_scale$)/);
  return new RegExp(unused.map(({ source }) => source).join('|'));
}
