import { parseDecoderConfig, type DecoderConfig } from '../decoder/config.ts';
import { families, familyNames, isFamilyName } from '../decoder/families.ts';
import { UserError } from '../errors.ts';
import { nameOtherWeights } from '../io/other-formats.ts';
import type { Sides } from '../image/picture.ts';
import { countPatches, layOutViews, parsePinpoints, type Views } from '../image/views.ts';
import { readJson, type Folder } from '../folder.ts';
import { fieldReader, isObject, type JsonObject } from '../json.ts';
import type { ProjectorConfig } from '../projector.ts';
import { activationNames } from '../tensor/activation.ts';
import {
  gridSide,
  parseClipVisionConfig,
  patchCount,
  prefixTokens,
  towerNames,
  towers,
  type ClipVisionConfig,
} from '../vision/config.ts';
import { parseClipTextConfig, type ClipTextConfig } from '../vision/text-config.ts';
import { authorsKey } from './authors.ts';

/** LLaVA or vip-llava: a CLIP or SigLIP vision tower, a projector and a decoder. */
export interface LlavaConfig {
  kind: 'llava';
  vision: ClipVisionConfig;
  projector: ProjectorConfig;
  text: DecoderConfig;
  image_token_index: number;
  /**
   * Which hidden states are the image's features, as indices 0 .. L: the file's −2 of 24 layers is 23, the output of
   * layer 22. Several are laid side by side.
   */
  vision_feature_layer: number[];
  /** `default` leaves [CLS] out of the features, `full` keeps it, first; of a tower without one it is `full`. */
  vision_feature_select_strategy: 'default' | 'full';
  /** LLaVA-NeXT's: the resolutions that crops of a picture may cut up. Absent where a picture is seen as one. */
  image_grid_pinpoints?: Sides[];
}

/** CLIP whole: the two towers, and the width of the space in which they meet. */
export interface ClipConfig {
  kind: 'clip';
  vision: ClipVisionConfig;
  text: ClipTextConfig;
  projection_dim: number;
}

/** CLIP's vision tower alone. */
export interface ClipVisionOnly {
  kind: 'clip';
  vision: ClipVisionConfig;
  text?: undefined;
}

/** What a folder's `config.json` describes: one of the kinds that can be loaded. */
export type Architecture =
  LlavaConfig | ClipConfig | ClipVisionOnly | { kind: 'decoder'; text: DecoderConfig };

const titles = either(Object.values(families).map(({ title }) => title));
const towerTitles = either(Object.values(towers).map(({ title }) => title));
const supported = either([
  `llava and llava_next (${towerTitles}, and ${titles})`,
  'vipllava',
  'clip',
  'clip_vision_model',
  ...familyNames,
]);

/** What to take in place of a kin that is not read. */
const instead: Record<string, string> = {
  llava_onevision:
    'its crops are shrunk by interpolation before they are packed, which is not here; llava-hf/llava-interleave-qwen-0.5b-hf has the ' +
    'same tower and decoder without crops, llava-hf/llava-v1.6-mistral-7b-hf has crops',
  video_llava: 'a clip is asked of any LLaVA: --image names its frames',
  llava_next_video:
    'its decoder without the pooling of frames is LLaVA-NeXT: take llava-hf/llava-v1.6-vicuna-7b-hf',
};

/** a, b or c */
function either(names: readonly string[]): string {
  return names.join(', ').replace(/, ([^,]*)$/, ' or $1');
}

/**
 * Reads a Hugging Face folder's `config.json`.
 * @throws UserError when there is none, or it describes something else
 */
export async function readArchitecture(folder: Folder): Promise<Architecture> {
  const json = await readJson(folder, 'config.json');
  if (!json) throw new UserError(await describeLack(folder));
  return parseArchitecture(json, folder.place('config.json'));
}

/**
 * What a config says. What it leaves out takes transformers' default: published LLaVA-1.5 names only three of LLaMA's
 * values.
 */
function parseArchitecture(json: JsonObject, file: string): Architecture {
  refuseOthers(json, file);
  const type = json['model_type'];
  if (isFamilyName(type)) return { kind: 'decoder', text: parseDecoderConfig(json, file, type) };
  switch (type) {
    case 'llava':
    case 'vipllava':
      return parseLlava(json, file);
    case 'llava_next':
      return parseLlavaNext(json, file);
    case 'clip':
      return {
        kind: 'clip',
        vision: parseClipPart(json, 'vision_config', file, (part, of) => parseClipVisionConfig(part, of)),
        text: parseClipPart(json, 'text_config', file, parseClipTextConfig),
        projection_dim: fieldReader(json, file).count('projection_dim', 512),
      };
    case 'clip_vision_model':
      return { kind: 'clip', vision: parseClipVisionConfig(json, file) };
    default: {
      const other = typeof type === 'string' && Object.hasOwn(instead, type) ? instead[type] : undefined;
      throw new UserError(
        `${file}: model_type ${JSON.stringify(type)} is not supported${other ? `: ${other}` : `, only ${supported}`}`,
      );
    }
  }
}

/**
 * A part of CLIP's config. Where its older name `…_config_dict` stands too, transformers (5.18, CLIPConfig) takes that, with
 * defaults for what it leaves out, whatever the newer one says.
 */
function parseClipPart<T>(
  json: JsonObject,
  key: 'vision_config' | 'text_config',
  file: string,
  parse: (part: JsonObject, file: string) => T,
): T {
  const name = (json[`${key}_dict`] ?? null) === null ? key : `${key}_dict`;
  return parse(subConfig(json, name, file) ?? {}, `${file}: ${name}`);
}

/** What a folder without config.json is instead. */
async function describeLack(folder: Folder): Promise<string> {
  const names = await folder.list().catch(() => []);
  const lack = `${folder.name} is no checkpoint folder: it has no config.json`;
  const other = nameOtherWeights(names);
  return other ? `${lack}, but ${other}` : lack;
}

/**
 * Names what a config describes and this program does not read, before defaults are filled in.
 * @throws UserError with the next step
 */
function refuseOthers(json: JsonObject, file: string): void {
  const text = isObject(json['text_config']) ? json['text_config'] : {};
  for (const key of ['quantization_config', 'quantization', 'compression_config']) {
    const found = json[key] ?? text[key];
    if (!isObject(found)) continue;
    const method = [found['quant_method'], found['mode'], found['quantization_method']].find(
      (value) => typeof value === 'string',
    );
    throw new UserError(
      `${file}: the weights are quantised (${key}${method ? `: ${method}` : ''}), and only plain float weights are read: ` +
        'take the checkpoint that they were made from',
    );
  }
  const authors = authorsKey(json);
  if (authors) {
    throw new UserError(
      `${file} has ${authors}, so it is in the layout of the LLaVA authors' own code: vtc convert DIR --to DIR --clip DIR makes one ` +
        'that is read, or take llava-hf/llava-1.5-7b-hf, which was converted already',
    );
  }
}

/** ViT-L/14 at 336 pixels: LLaVA-1.5's, and transformers' default for a LLaVA without `vision_config`. */
export const clipLarge336 = {
  hidden_size: 1024,
  intermediate_size: 4096,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  image_size: 336,
  patch_size: 14,
};

function parseLlava(json: JsonObject, file: string): LlavaConfig {
  const { integer, number, flag, choice } = fieldReader(json, file);
  const visionJson: JsonObject = subConfig(json, 'vision_config', file, towerNames) ?? clipLarge336;
  const tower = towerNames.find((name) => name === visionJson['model_type']); // CLIP's, where none is named
  const vision = parseClipVisionConfig(visionJson, `${file}: vision_config`, tower);
  const textJson = subConfig(json, 'text_config', file, familyNames) ?? {};
  const family = textJson['model_type'];
  const text = parseDecoderConfig(
    textJson,
    `${file}: text_config`,
    isFamilyName(family) ? family : 'llama', // transformers' default, where none is named
  );
  text.tie_word_embeddings ||= flag('tie_word_embeddings', false); // either flag ties
  const isVip = json['model_type'] === 'vipllava';
  const [layersKey, absent] = isVip
    ? (['vision_feature_layers', [-2, -5, -8, -11, 6]] as const)
    : (['vision_feature_layer', -2] as const);
  const layers = featureLayers(json[layersKey] ?? absent, vision.num_hidden_layers, `${file}: ${layersKey}`);
  const strategy = isVip
    ? 'default' // whatever it says
    : choice('vision_feature_select_strategy', ['default', 'full'] as const, 'default');
  if (strategy === 'default' && prefixTokens(vision) === 0) {
    throw new UserError(
      `${file}: vision_feature_select_strategy default drops the first token, which in ${towers[vision.model_type].title}'s ` +
        'tower is a patch and not [CLS]: it should be full',
    );
  }
  // Original LLaVA names its projector in mm_projector_type; transformers knows only the two-layer one.
  const projectorType = choice('mm_projector_type', ['linear', 'mlp2x_gelu'] as const, 'mlp2x_gelu');
  return {
    kind: 'llava',
    vision,
    text,
    projector: {
      kind: projectorType === 'linear' ? 'linear' : 'mlp2x',
      inner: vision.hidden_size * layers.length,
      out: text.hidden_size,
      hidden_act: choice('projector_hidden_act', activationNames, 'gelu'),
      bias: isVip || flag('multimodal_projector_bias', true),
      ...(isVip && { layer_norm_eps: number('projector_layernorm_eps', 1e-5) }),
    },
    image_token_index: integer('image_token_index', integer('image_token_id', 32000)),
    vision_feature_layer: layers,
    vision_feature_select_strategy: strategy,
  };
}

/**
 * LLaVA-NeXT is a LLaVA that sees thumbnail and crops. Its `use_image_newline_parameter` is not read, as in transformers 5.18:
 * there is an `image_newline` always.
 */
function parseLlavaNext(json: JsonObject, file: string): LlavaConfig {
  const config = parseLlava(json, file);
  if (config.vision_feature_select_strategy === 'full' && prefixTokens(config.vision) === 1) {
    throw new UserError(
      `${file}: vision_feature_select_strategy "full" has a [CLS] of each crop, which has no place in LLaVA-NeXT's grid of patches`,
    );
  }
  const { image_size } = config.vision;
  return {
    ...config,
    image_grid_pinpoints: parsePinpoints(json['image_grid_pinpoints'], image_size, file),
  };
}

function subConfig(
  json: JsonObject,
  key: string,
  file: string,
  modelTypes?: readonly string[],
): JsonObject | undefined {
  const sub = fieldReader(json, file).object(key);
  const found = sub?.['model_type'];
  if (modelTypes !== undefined && found !== undefined && !modelTypes.some((type) => type === found)) {
    throw new UserError(
      `${file}: ${key}.model_type ${JSON.stringify(found)} is not supported, only ${either(modelTypes)}`,
    );
  }
  return sub;
}

/** −2 or [−2, 1] → indices into the L + 1 hidden states. */
function featureLayers(value: unknown, L: number, key: string): number[] {
  const layers = (Array.isArray(value) ? value : [value]) as unknown[];
  if (layers.length === 0 || layers.length > L + 1) {
    throw new UserError(`${key} is a list of ${layers.length}, should name 1 to ${L + 1} hidden states`);
  }
  return layers.map((layer) => {
    const index = Number(layer) < 0 ? L + 1 + Number(layer) : Number(layer);
    if (typeof layer !== 'number' || !Number.isInteger(index) || index < 0 || index > L) {
      throw new UserError(`${key} ${JSON.stringify(layer)} is not one of the ${L + 1} hidden states`);
    }
    return index;
  });
}

/** What a checkpoint is, in its config's word. */
export function typeOf(architecture: Architecture): string {
  if (architecture.kind === 'decoder') return architecture.text.model_type;
  return architecture.kind === 'llava' && architecture.image_grid_pinpoints
    ? 'llava_next'
    : architecture.kind;
}

/**
 * How a picture of some size is seen; undefined where it is seen as one.
 * @throws UserError for a picture that is too thin
 */
export function viewsOf(
  { vision, image_grid_pinpoints: pinpoints }: LlavaConfig,
  size: Sides,
): Views | undefined {
  return pinpoints && layOutViews(size, pinpoints, vision.image_size, gridSide(vision));
}

/**
 * How many tokens the uncompressed picture takes in the prompt: P, and [CLS] where the checkpoint keeps it; of views all their
 * patches that are read, and a newline behind each row of the crops' grid.
 */
export function visualTokenCount(config: LlavaConfig, views?: Views): number {
  if (views) return countPatches(views) + views.rows;
  const { vision, vision_feature_select_strategy: strategy } = config;
  return patchCount(vision) + (strategy === 'full' ? prefixTokens(vision) : 0);
}
