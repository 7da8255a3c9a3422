import * as tf from '@tensorflow/tfjs-core';
import { tokenIds } from '../decoder/config.ts';
import type { Llama } from '../decoder/llama.ts';
import { UserError } from '../errors.ts';
import { readJson, type Folder } from '../folder.ts';
import { hasWeights, openWeights } from '../io/sharded.ts';
import { loadTree } from '../io/load-tree.ts';
import { checkNames, leavesOf } from '../io/weight-table.ts';
import type { Projector } from '../projector.ts';
import { backendTraits } from '../tensor/traits.ts';
import type { ClipVision } from '../vision/clip.ts';
import type { Clip } from '../vision/contrastive.ts';
import { readArchitecture, type Architecture, type LlavaConfig } from './architecture.ts';
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
  /** Frees the weights. */
  dispose(): void;
}

/** Told as weights are loaded. */
export interface LoadProgress {
  /** @param done bytes of float32 weights loaded so far */
  (done: number, total: number): void;
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
export async function loadModel(folder: Folder, onProgress?: LoadProgress): Promise<Model> {
  const architecture = await readArchitecture(folder);
  const stopTokens = await readStopTokens(folder, architecture);
  const files = await openWeights(folder);
  try {
    const source = publishedNames(files, architecture);
    const table = weightTable(architecture);
    checkNames(source, table, unusedNames(architecture));
    const bytes = (leaf: { shape: number[] }) => 4 * leaf.shape.reduce((product, n) => product * n, 1);
    const leaves = leavesOf(table);
    const total = leaves.reduce((sum, leaf) => sum + bytes(leaf), 0);
    const matrices = leaves.filter((leaf) => leaf.multiplies).map(bytes);
    backendTraits().requireMemory(matrices, total - matrices.reduce((sum, n) => sum + n, 0), folder.name);

    let done = 0;
    const weights = await loadTree(source, table, (leaf) => onProgress?.((done += bytes(leaf)), total));
    return assemble(folder.name, architecture, weights, stopTokens);
  } finally {
    await files.close();
  }
}

/**
 * A LLaVA with the CLIP that its vision tower comes from, of which one copy is enough. That it does is seen from the
 * class embeddings, which files of different precision hold alike to 1 %.
 * @param dir names the CLIP in messages
 * @throws UserError for another tower's CLIP
 */
export async function joinClip(llava: Llava, clip: Clip, dir: string): Promise<Llava> {
  const [own, other] = [llava.vision, clip.vision].map(({ weights }) => weights.class_embedding);
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
  stopTokens: number[],
): Model {
  const model: Model = {
    dir,
    architecture,
    stopTokens,
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
