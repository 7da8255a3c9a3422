import { UserError } from '../errors.ts';
import { readJson, type Folder } from '../folder.ts';
import { isObject, type JsonObject } from '../json.ts';
import type { Sides } from './picture.ts';
import { parsePinpoints } from './views.ts';

/** The steps from a picture to the vision tower's input, in order of use: pad, resize, crop, rescale, normalize. */
export interface PreprocessConfig {
  resize: { shortestEdge: number } | { width: number; height: number } | null;
  crop: { width: number; height: number } | null;
  /** Factor on the bytes, usually 1/255. */
  rescale: number | null;
  /** Per channel, R G B: (x - mean) / std. */
  normalize: { mean: number[]; std: number[] } | null;
  /** Pad to a square with the mean colour first, as LLaVA-1.5's released code does. */
  pad: boolean;
  /** The resolutions that crops may cut up, of a checkpoint that takes a picture as several; see views.ts. */
  pinpoints?: Sides[];
}

/** Mean and deviation of CLIP's training pictures, R G B, on a scale of 0 to 1. SigLIP takes ½ for all of them. */
export const CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073];
export const CLIP_STD = [0.26862954, 0.26130258, 0.27577711];

const BICUBIC = 3; // Pillow's number for it
const KINDS = /^"(CLIP|Llava|Siglip)(ImageProcessor|FeatureExtractor)(Fast|Pil)?"$/;
const NEXT = /^"LlavaNextImageProcessor(Fast|Pil)?"$/;
const HALVES = [0.5, 0.5, 0.5];
/** What an image processor does where its file leaves it out. */
const DEFAULTS = {
  clip: { size: { shortest_edge: 224 }, crops: true, mean: CLIP_MEAN, std: CLIP_STD },
  siglip: { size: { height: 224, width: 224 }, crops: false, mean: HALVES, std: HALVES },
};

/** CLIP's preprocessing for a tower that takes `imageSize` × `imageSize` pixels. */
export function clipPreprocess(imageSize: number, pad = false): PreprocessConfig {
  return {
    resize: { shortestEdge: imageSize },
    crop: { width: imageSize, height: imageSize },
    rescale: 1 / 255,
    normalize: { mean: CLIP_MEAN, std: CLIP_STD },
    pad,
  };
}

/** SigLIP's: every picture squeezed to `imageSize` × `imageSize`. */
export function siglipPreprocess(imageSize: number, pad = false): PreprocessConfig {
  return {
    resize: { width: imageSize, height: imageSize },
    crop: null,
    rescale: 1 / 255,
    normalize: { mean: HALVES, std: HALVES },
    pad,
  };
}

/**
 * Read the preprocessing of a Hugging Face folder as transformers 5's CLIP, LLaVA and SigLIP image processors do:
 * `image_processor` inside `processor_config.json` if it is there, else `preprocessor_config.json`. A key that
 * is missing or null takes CLIP's default, or SigLIP's, of which the sizes are 224. Without either file: the tower's own at
 * `imageSize`.
 *
 * Padding to a square is asked for by `do_pad: true` or `image_aspect_ratio: "pad"`.
 *
 * @param folder - the checkpoint's
 * @param imageSize - S, the side the vision tower takes
 * @param pad - pad to a square whatever the folder says
 * @throws UserError for a file that cannot be read or parsed, an image processor of another kind, a resampling
 *   other than bicubic, a malformed value, or a result that is not S × S for every picture
 */
export async function readPreprocessConfig(
  folder: Folder,
  imageSize: number,
  pad = false,
): Promise<PreprocessConfig> {
  const found = await findImageProcessor(folder);
  if (found) return parsePreprocessConfig(found, imageSize, pad);
  return (await hasSiglip(folder)) ? siglipPreprocess(imageSize, pad) : clipPreprocess(imageSize, pad);
}

async function hasSiglip(folder: Folder): Promise<boolean> {
  const vision = (await readJson(folder, 'config.json'))?.['vision_config'];
  return isObject(vision) && vision['model_type'] === 'siglip_vision_model';
}

/** The keys of an image processor, and the file that they stand in. */
interface ImageProcessor {
  file: string;
  raw: JsonObject;
}

function parsePreprocessConfig(
  { file, raw }: ImageProcessor,
  imageSize: number,
  pad: boolean,
): PreprocessConfig {
  const fail = (problem: string) => new UserError(`${file}: ${problem}`);
  /** The value of a key, or `fallback`; `valid` says whether it is `expected`. */
  function read<T>(key: string, fallback: T, expected: string, valid: (value: unknown) => boolean): T {
    const value = raw[key] ?? fallback;
    if (!valid(value)) throw fail(`${key} must be ${expected}, not ${JSON.stringify(value)}`);
    return value as T;
  }
  const readFlag = (key: string, fallback: boolean) =>
    read(key, fallback, 'true or false', (value) => typeof value === 'boolean');
  const readChannels = (key: string, fallback: number[], expected: string, valid: (x: unknown) => boolean) =>
    read(key, fallback, expected, (value) => isList(value) && value.length === 3 && value.every(valid));

  const kindKey = 'feature_extractor_type' in raw ? 'feature_extractor_type' : 'image_processor_type';
  if (NEXT.test(JSON.stringify(raw[kindKey]))) return parseNext({ file, raw }, imageSize, pad);
  const kind = read(kindKey, 'CLIPImageProcessor', "CLIP's, LLaVA's or SigLIP's", (value) =>
    KINDS.test(JSON.stringify(value)),
  );
  const defaults = kind.startsWith('Siglip') ? DEFAULTS.siglip : DEFAULTS.clip;

  const config: PreprocessConfig = { resize: null, crop: null, rescale: null, normalize: null, pad: false };
  if (readFlag('do_resize', true)) {
    read('resample', BICUBIC, `${BICUBIC} (bicubic)`, (value) => value === BICUBIC);
    const size = read<Size>(
      'size',
      defaults.size,
      'a whole number, {shortest_edge} or {height, width}',
      (value) => isSide(value) || hasSides(value, ['shortest_edge']) || hasSides(value, ['height', 'width']),
    );
    if (typeof size !== 'number') {
      config.resize = 'height' in size ? toSides(size) : { shortestEdge: size.shortest_edge };
    } else {
      config.resize = readFlag('default_to_square', false) ? toSides(size) : { shortestEdge: size };
    }
  }
  if (readFlag('do_center_crop', defaults.crops)) {
    const size = read<number | Sides>(
      'crop_size',
      224,
      'a whole number or {height, width}',
      (value) => isSide(value) || hasSides(value, ['height', 'width']),
    );
    config.crop = toSides(size);
  }
  if (readFlag('do_rescale', true)) {
    config.rescale = read('rescale_factor', 1 / 255, 'a positive number', isPositive);
  }
  if (readFlag('do_normalize', true)) {
    config.normalize = {
      mean: readChannels('image_mean', defaults.mean, 'three numbers', Number.isFinite),
      std: readChannels('image_std', defaults.std, 'three positive numbers', isPositive),
    };
  }
  const aspect = read<string>('image_aspect_ratio', 'square', '"square" or "pad"', (value) =>
    ['square', 'pad'].includes(value as string),
  );
  config.pad = pad || readFlag('do_pad', false) || aspect === 'pad';
  if (config.pad && !config.normalize) throw fail('padding needs do_normalize, whose mean is its colour');

  const side = resultSize(config);
  if (side !== `${imageSize} × ${imageSize}`) {
    throw fail(`makes ${side} pixels, but the vision tower takes ${imageSize} × ${imageSize}`);
  }
  return config;
}

/**
 * LLaVA-NeXT's image processor: CLIP's for each view, which has the tower's size already. Its `do_pad` is about the number of
 * views in a batch, its `image_aspect_ratio` and `aspect_ratio_setting` say `anyres`.
 */
function parseNext({ file, raw }: ImageProcessor, S: number, pad: boolean): PreprocessConfig {
  if (pad) throw new UserError(`--pad: LLaVA-NeXT pads its crops itself (${file})`);
  const pinpoints = parsePinpoints(raw['image_grid_pinpoints'], S, file);
  const ofEach = Object.fromEntries(Object.entries(raw).filter(([key]) => !ofViews.includes(key)));
  const config = parsePreprocessConfig({ file, raw: ofEach }, S, false);
  const { resize } = config;
  const edges = !resize ? [S] : 'width' in resize ? [resize.width, resize.height] : [resize.shortestEdge];
  if (edges.some((edge) => edge !== S)) {
    throw new UserError(`${file}: size is ${edges.join(' × ')}, but the vision tower takes ${S} × ${S}`);
  }
  return { ...config, resize: { width: S, height: S }, pinpoints };
}

/** What that file says of the views together. */
const ofViews = ['feature_extractor_type', 'image_processor_type', 'image_aspect_ratio', 'do_pad'];

type Size = number | Sides | { shortest_edge: number };

function toSides(size: number | Sides): { width: number; height: number } {
  return typeof size === 'number'
    ? { width: size, height: size }
    : { width: size.width, height: size.height };
}

/** The size that every picture ends with, in words. */
function resultSize({ pad, resize, crop }: PreprocessConfig): string {
  if (crop) return `${crop.width} × ${crop.height}`;
  if (resize && 'width' in resize) return `${resize.width} × ${resize.height}`;
  if (resize && pad) return `${resize.shortestEdge} × ${resize.shortestEdge}`; // a square already
  return 'each picture its own number of';
}

async function findImageProcessor(folder: Folder): Promise<ImageProcessor | undefined> {
  const nested = folder.place('processor_config.json');
  const inner = (await readJson(folder, 'processor_config.json'))?.['image_processor'];
  if (inner !== undefined) {
    if (!isObject(inner)) throw new UserError(`${nested}: image_processor must be an object`);
    return { file: nested, raw: inner };
  }
  const raw = await readJson(folder, 'preprocessor_config.json');
  return raw && { file: folder.place('preprocessor_config.json'), raw };
}

const isList = (value: unknown): value is unknown[] => Array.isArray(value);
const isSide = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) > 0;
const isPositive = (value: unknown): boolean => Number.isFinite(value) && (value as number) > 0;

/** An object of exactly these keys, each a side in pixels. */
function hasSides(value: unknown, keys: string[]): boolean {
  return (
    isObject(value) && Object.keys(value).length === keys.length && keys.every((key) => isSide(value[key]))
  );
}
