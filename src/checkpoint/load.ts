import * as tf from '@tensorflow/tfjs-core';
import { tokenIds } from '../decoder/config.ts';
import type { LayerStream } from '../decoder/layer-stream.ts';
import type { Llama } from '../decoder/llama.ts';
import { UserError } from '../errors.ts';
import { readJson, type Folder } from '../folder.ts';
import { hasWeights, openWeights } from '../io/sharded.ts';
import { loadTree } from '../io/load-tree.ts';
import { checkNames, leavesOf } from '../io/weight-table.ts';
import type { Projector } from '../projector.ts';
import type { ClipVision } from '../vision/clip.ts';
import { towers } from '../vision/config.ts';
import type { Clip } from '../vision/contrastive.ts';
import { readArchitecture, type Architecture, type LlavaConfig } from './architecture.ts';
import { chooseKeeping, float32Bytes, streamLayers, type Keeping } from './keeping.ts';
import { publishedNames, unusedNames, weightTable } from './names.ts';

/** A loaded LLaVA: three parts, each weights and config. */
export interface Llava {
  config: LlavaConfig;
  vision: ClipVision;
  projector: Projector;
  decoder: Llama;
  /** LLaVA-NeXT's embedding that ends a row of crops, [E]. */
  newline?: tf.Tensor1D;
  /** The CLIP whose vision tower this one's is, for methods that read the question; see {@link joinClip}. */
  clip?: Clip;
}

/** What a folder loads into. A part that its kind lacks is undefined. */
export interface Model {
  dir: string;
  architecture: Architecture;
  vision?: ClipVision;
  projector?: Projector;
  decoder?: Llama;
  /** All three, when it is a LLaVA. */
  llava?: Llava;
  /** Both towers, when it is a CLIP with its text tower. */
  clip?: Clip;
  /** Tokens that end an answer. */
  stopTokens: number[];
  /** How its weights are kept. */
  weightsAs: Keeping;
  /** Frees the weights. */
  dispose(): void;
}

/** Told as weights are loaded. */
export interface LoadProgress {
  /** @param done weights loaded so far, in bytes of float32 */
  (done: number, total: number): void;
}

/** How weights are to be kept; what suits, where it is left out. */
export interface LoadOptions {
  weightsAs?: Keeping;
  /** Told which of the decoder's layers is wanted, where they are streamed. */
  onLayer?: (layer: number, count: number) => void;
}

/**
 * Reads a folder's config and holds it against the names and shapes in its files, before anything of the sizes that it tells
 * is made: a picture, a table of layers.
 * @throws UserError where they do not fit; a folder without weights is refused when they are loaded
 */
export async function readCheckedConfig(folder: Folder): Promise<Architecture> {
  const architecture = await readArchitecture(folder);
  if (!(await hasWeights(folder))) return architecture;
  const files = await openWeights(folder);
  try {
    checkNames(publishedNames(files, architecture), weightTable(architecture), unusedNames(architecture));
    return architecture;
  } finally {
    await files.close();
  }
}

/**
 * Loads a Hugging Face folder: checks every name and shape, checks that it fits the backend, then reads tensor by
 * tensor.
 * @throws UserError naming the file and the tensors, for anything that does not fit
 */
export async function loadModel(
  folder: Folder,
  onProgress?: LoadProgress,
  { weightsAs, onLayer }: LoadOptions = {},
): Promise<Model> {
  const architecture = await readArchitecture(folder);
  const stopTokens = await readStopTokens(folder, architecture);
  const files = await openWeights(folder);
  let staysOpen = false;
  try {
    const source = publishedNames(files, architecture);
    const table = weightTable(architecture);
    checkNames(source, table, unusedNames(architecture));
    const keeping = chooseKeeping(source, table, weightsAs, folder.name);
    const streamed = keeping === 'streamed' ? table.decoder : undefined;
    const resident = streamed ? { ...table, decoder: { ...streamed, layers: [] } } : table;
    const total = leavesOf(resident).reduce((sum, leaf) => sum + float32Bytes(leaf), 0);

    let done = 0;
    const tell = (leaf: { shape: number[] }) => onProgress?.((done += float32Bytes(leaf)), total);
    const weights = await loadTree(source, resident, tell, { stored: keeping !== 'float32' });
    const model = assemble(folder.name, architecture, weights, { stopTokens, weightsAs: keeping });
    if (!streamed) return model;
    staysOpen = true;
    return withStream(model, streamLayers(source, streamed.layers, onLayer), () => files.close());
  } finally {
    if (!staysOpen) await files.close();
  }
}

/** The same with its decoder's layers from a stream. @param close the files that it reads */
function withStream(model: Model, stream: LayerStream, close: () => Promise<void>): Model {
  const decoder = { ...model.decoder!, stream };
  return {
    ...model,
    decoder,
    ...(model.llava && { llava: { ...model.llava, decoder } }),
    dispose: () => {
      model.dispose();
      void stream.close().then(close, close);
    },
  };
}

/**
 * A LLaVA with the CLIP that its vision tower comes from, of which one copy is enough. That it does is seen from the
 * class embeddings, which files of different precision hold alike to 1 %.
 * @param dir names the CLIP in messages
 * @throws UserError for another tower's CLIP, or where the tower is no CLIP's
 */
export async function joinClip(llava: Llava, clip: Clip, dir: string): Promise<Llava> {
  const [own, other] = [llava.vision, clip.vision].map(({ weights }) => weights.class_embedding);
  if (!own || !other) {
    throw new UserError(
      `${dir} is not the CLIP of this LLaVA's vision tower, which is ${towers[llava.config.vision.model_type].title}'s`,
    );
  }
  const [values, others] = (await Promise.all([own.data(), other.data()])) as Float32Array[];
  const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  if (
    values.length !== others.length ||
    values.some((x, i) => !(Math.abs(x - others[i]) <= 0.01 * largest))
  ) {
    throw new UserError(
      `${dir} is not the CLIP of this LLaVA's vision tower: their class embeddings, of ${others.length} and ` +
        `${values.length} values, differ`,
    );
  }
  return { ...llava, clip: { ...clip, vision: llava.vision } };
}

function assemble(
  dir: string,
  architecture: Architecture,
  weights: Awaited<ReturnType<typeof loadTree<ReturnType<typeof weightTable>>>>,
  told: Pick<Model, 'stopTokens' | 'weightsAs'>,
): Model {
  const model: Model = {
    dir,
    architecture,
    ...told,
    dispose: () => tf.dispose(weights as tf.TensorContainer),
  };
  if (architecture.kind !== 'decoder' && weights.vision) {
    model.vision = { config: architecture.vision, weights: weights.vision };
  }
  if (architecture.kind === 'clip' && architecture.text && model.vision && weights.text && weights.contrast) {
    const text = { config: architecture.text, weights: weights.text };
    model.clip = { vision: model.vision, text, weights: weights.contrast };
  }
  if (architecture.kind !== 'clip' && weights.decoder) {
    model.decoder = { config: architecture.text, weights: weights.decoder };
  }
  if (architecture.kind === 'llava' && weights.projector) {
    model.projector = { config: architecture.projector, weights: weights.projector };
  }
  const { vision, projector, decoder } = model;
  if (architecture.kind === 'llava' && vision && projector && decoder) {
    model.llava = { config: architecture, vision, projector, decoder, newline: weights.newline };
  }
  return model;
}

/** `generation_config.json` has the last word on what ends an answer. */
async function readStopTokens(folder: Folder, architecture: Architecture): Promise<number[]> {
  const fallback = architecture.kind === 'clip' ? [] : architecture.text.eos_token_id;
  const file = 'generation_config.json';
  return tokenIds((await readJson(folder, file)) ?? {}, 'eos_token_id', fallback, folder.place(file));
}
