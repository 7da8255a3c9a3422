import { llamaTable, unusedLlamaNames } from '../decoder/weights.ts';
import { UserError } from '../errors.ts';
import type { TensorInfo } from '../io/safetensors.ts';
import type { WeightFiles } from '../io/sharded.ts';
import { vector, type TensorSource } from '../io/weight-table.ts';
import { projectorTable } from '../projector.ts';
import { clipContrastTable } from '../vision/contrastive.ts';
import { clipTextTable } from '../vision/text.ts';
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
    [/^model\.(?=vision_tower\.|multi_modal_projector\.|language_model\.|image_newline$)/, ''],
    [/^vision_tower\.(?!vision_model\.)/, 'vision_tower.vision_model.'],
    [/^language_model\.(?!model\.|lm_head\.)/, 'language_model.model.'],
    [/^lm_head\./, 'language_model.lm_head.'],
  ],
  clip: [[/^(?=(embeddings|encoder|pre_layrnorm|post_layernorm)\.)/, 'vision_model.']],
  decoder: [[/^(?=(embed_tokens|layers|norm)\.)/, 'model.']], // a bare LlamaModel, MistralModel, …
};

/** What stands before each part's own names. */
const prefixes = {
  llava: {
    vision: 'vision_tower.vision_model.',
    decoder: 'language_model.model.',
    head: 'language_model.lm_head',
  },
  clip: { vision: 'vision_model.', text: 'text_model.' },
  decoder: { decoder: 'model.', head: 'lm_head' },
} satisfies Record<Architecture['kind'], object>;

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
    const { decoder, head } = prefixes[kind];
    const tied = [`${decoder}embed_tokens.weight`, `${head}.weight`];
    const info = tied.map((name) => tensors.get(name)).find((found) => found !== undefined);
    for (const name of tied) if (info && !tensors.has(name)) tensors.set(name, info);
  }
  const inFile = (name: string) => tensors.get(name)?.name ?? name;
  return {
    dir: files.dir,
    tensors,
    readFloat32: (name) => files.readFloat32(inFile(name)),
    readRaw: (name, into) => files.readRaw(inFile(name), into),
  };
}

/** The tree of weights that an architecture loads, under the published names. A part that it lacks is undefined. */
export function weightTable(architecture: Architecture) {
  const { kind } = architecture;
  const whole = kind === 'clip' && architecture.text ? architecture : undefined;
  return {
    vision: kind === 'decoder' ? undefined : clipVisionTable(architecture.vision, prefixes[kind].vision),
    projector: kind === 'llava' ? projectorTable(architecture.projector) : undefined,
    decoder:
      kind === 'clip'
        ? undefined
        : llamaTable(architecture.text, prefixes[kind].decoder, prefixes[kind].head),
    newline:
      kind === 'llava' && architecture.image_grid_pinpoints
        ? vector('image_newline', architecture.text.hidden_size)
        : undefined,
    text: whole && clipTextTable(whole.text, prefixes.clip.text),
    contrast:
      whole && clipContrastTable(whole.vision.hidden_size, whole.text.hidden_size, whole.projection_dim),
  };
}

/** Names that an architecture's files may hold and that are not loaded. */
export function unusedNames(architecture: Architecture): RegExp {
  const unused = [unusedVisionNames, unusedLlamaNames];
  if (architecture.kind === 'clip' && !architecture.text) unused.push(contrastNames); // of the CLIP it came from
  return new RegExp(unused.map(({ source }) => source).join('|'));
}

const contrastNames = /^(text_model\.|text_projection\.|visual_projection\.|logit_scale$)/;
