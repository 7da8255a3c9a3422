/** Checkpoints that others wrote in other ways, as a Hugging Face folder of safetensors. */
import { cp, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import {
  addedWords,
  authorsKey,
  convertConfig,
  floatKeys,
  grownVocabulary,
  renameAuthors,
  renameClip,
} from '../checkpoint/authors.ts';
import { readCheckedConfig } from '../checkpoint/load.ts';
import { UserError } from '../errors.ts';
import { encodeFloat32, toFloat32 } from '../io/dtype.ts';
import type { TensorInfo, TensorSpec } from '../io/safetensors.ts';
import { hasWeights, openWeights } from '../io/sharded.ts';
import { openTorchFile } from '../io/torch-file.ts';
import { isObject, type JsonObject } from '../json.ts';
import { requireRoom } from './disk.ts';
import { makeFolder, readJson, reasonOf, writeJsonFiles, writeText } from './files.ts';
import { diskFolder, openFile } from './folder.ts';
import { copySafetensors } from './safetensors.ts';
import { planShards, sumBytes, writeIndex } from './shards.ts';

/** What a conversion needs besides the folder. */
export interface ConvertOptions {
  /** The CLIP's folder that the authors' layout names, where it holds no tower. */
  clip?: string;
  /** A folder whose tokenizer fits, for one that has none in tokenizer.json. */
  tokenizer?: string;
  /** Bytes that were written, of all. */
  onProgress?: (done: number, total: number) => void;
}

/** What was written. */
export interface Converted {
  tensors: number;
  bytes: number;
  /** What is still missing before it can be asked in words. */
  lacks?: string;
}

/** A tensor on its way: what it is, and its bytes. */
interface Moving extends TensorSpec {
  read(this: void): Promise<Uint8Array>;
}

/** Open files of weights, whatever wrote them. */
interface Weights {
  tensors: Map<string, TensorInfo>;
  readRaw(name: string): Promise<Uint8Array>;
  close(): Promise<unknown>;
}

const shardBytes = 5e9;

/**
 * Writes what a folder holds as a Hugging Face folder of safetensors: PyTorch's pickles, the layout of the LLaVA authors. The
 * new folder appears whole or not at all.
 * @throws UserError for what is not read, for a folder that is there already, and where the disk has no room
 */
export async function convertCheckpoint(
  dir: string,
  to: string,
  options: ConvertOptions = {},
): Promise<Converted> {
  const file = path.join(dir, 'config.json');
  const config = await readJson(file);
  if (!config) throw new UserError(`${dir} is no checkpoint folder: it has no config.json`);
  await requireAbsent(to);
  const open: Weights[] = [await openAny(dir)];
  const partial = `${path.resolve(to)}.partial-${process.pid}`;
  try {
    const isAuthors = authorsKey(config) !== undefined;
    const { json, tensors } = isAuthors
      ? await fromAuthors(config, file, open, options)
      : { json: undefined, tensors: moveAll(open[0], (name) => name) };
    const total = sumBytes(tensors.values());
    await makeFolder(partial);
    await requireRoom(path.dirname(partial), 1.01 * total);
    if (json) await writeText(path.join(partial, 'config.json'), formatConfig(json));
    else await cp(file, path.join(partial, 'config.json'), { dereference: true });
    await writeShards(partial, tensors, total, options.onProgress);
    await copyOthers(dir, partial);
    const lacks = await finishTokenizer(
      partial,
      isAuthors ? (config['vocab_size'] as number) : undefined,
      options,
    );
    await readCheckedConfig(diskFolder(partial)); // what was written is a model
    await rename(partial, to).catch((error: unknown) => {
      throw new UserError(`cannot make the folder ${to}: ${reasonOf(error)}`);
    });
    return { tensors: tensors.size, bytes: total, lacks };
  } finally {
    await rm(partial, { recursive: true, force: true });
    await Promise.all(open.map((weights) => weights.close()));
  }
}

/** JSON in which floats stay floats: transformers refuses a whole number in their place. */
const formatConfig = (json: JsonObject): string =>
  `${JSON.stringify(json, null, 2)}\n`.replace(
    new RegExp(`"(${floatKeys.join('|')})": (\\d+)(?=[,\\s])`, 'g'),
    '"$1": $2.0',
  );

async function requireAbsent(to: string): Promise<void> {
  const names = await readdir(to).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new UserError(`cannot make the folder ${to}: ${reasonOf(error)}`);
  });
  if (names === undefined) return;
  if (names.length > 0) throw new UserError(`${to} is there already: name a folder that is not`);
  await rm(to, { recursive: true }); // an empty one stands in a rename's way on some systems
}

/** A folder's weights: safetensors, or else PyTorch's files. */
async function openAny(dir: string): Promise<Weights> {
  const folder = diskFolder(dir);
  if (await hasWeights(folder)) return openWeights(folder);
  const names = await folder.list();
  const index = await readJson(path.join(dir, 'pytorch_model.bin.index.json'));
  const map = isObject(index?.['weight_map']) ? index['weight_map'] : undefined;
  const listed = map ? [...new Set(Object.values(map).map(String))] : ['pytorch_model.bin'];
  const bad = listed.find((name) => !/^[\w.-]+\.bin$/.test(name) || !names.includes(name));
  if (bad !== undefined) {
    throw new UserError(
      map
        ? `${dir}: pytorch_model.bin.index.json names ${JSON.stringify(bad)}, which is not in the folder`
        : `${dir} has neither model.safetensors nor pytorch_model.bin`,
    );
  }
  const files: Awaited<ReturnType<typeof openTorchFile>>[] = [];
  const close = () => Promise.all(files.map((one) => one.close()));
  try {
    const tensors = new Map<string, TensorInfo>();
    const owners = new Map<string, (typeof files)[number]>();
    for (const name of listed) {
      const file = await openTorchFile(await openFile(path.join(dir, name)));
      files.push(file);
      for (const [tensor, info] of file.tensors) {
        if (tensors.has(tensor))
          throw new UserError(`${dir}: two files hold tensor ${JSON.stringify(tensor)}`);
        tensors.set(tensor, info);
        owners.set(tensor, file);
      }
    }
    return { tensors, readRaw: (name) => owners.get(name)!.readRaw(name), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Tensors under new names; those that get none stay behind. */
function moveAll(weights: Weights, rename: (name: string) => string | undefined): Map<string, Moving> {
  const moved = new Map<string, Moving>();
  for (const [name, { dtype, shape }] of weights.tensors) {
    const target = rename(name);
    if (target === undefined) continue;
    if (moved.has(target)) throw new UserError(`two tensors would be ${target}`);
    moved.set(target, { dtype, shape, read: () => weights.readRaw(name) });
  }
  return moved;
}

async function fromAuthors(
  config: JsonObject,
  file: string,
  open: Weights[],
  { clip }: ConvertOptions,
): Promise<{ json: JsonObject; tensors: Map<string, Moving> }> {
  const tensors = moveAll(open[0], (name) =>
    /(inv_freq|position_ids)$/.test(name) ? undefined : renameAuthors(name),
  );
  const tower = JSON.stringify(config['mm_vision_tower']);
  if (clip === undefined) {
    throw new UserError(
      `${file}: its vision tower is ${tower}: --clip names that CLIP's folder, or org/name in Hugging Face's cache`,
    );
  }
  const clipConfig = await readJson(path.join(clip, 'config.json'));
  const vision = isObject(clipConfig?.['vision_config']) ? clipConfig['vision_config'] : clipConfig;
  if (!vision) throw new UserError(`${clip} is no checkpoint folder: it has no config.json`);
  const json = convertConfig(config, vision, file);
  if (![...tensors.keys()].some((name) => name.startsWith('vision_tower.'))) {
    const weights = await openAny(clip);
    open.push(weights);
    for (const [name, moving] of moveAll(weights, renameClip)) tensors.set(name, moving);
  }
  const V = config['vocab_size'] as number;
  for (const name of ['language_model.model.embed_tokens.weight', 'language_model.lm_head.weight']) {
    const table = tensors.get(name);
    if (table?.shape[0] === V) tensors.set(name, growTable(table, grownVocabulary(V)));
  }
  return { json, tensors };
}

/** A table with more rows: each the mean of those that were there. */
function growTable({ dtype, shape: [V, E], read }: Moving, rows: number): Moving {
  return {
    dtype,
    shape: [rows, E],
    read: async () => {
      if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16')
        throw new UserError(`a table of ${dtype} is not grown`);
      const bytes = await read();
      const values = toFloat32(bytes, dtype);
      const mean = new Float64Array(E);
      for (let i = 0; i < values.length; i++) mean[i % E] += values[i] / V;
      const row = encodeFloat32(Float32Array.from(mean), dtype);
      const all = new Uint8Array((bytes.length / V) * rows);
      all.set(bytes);
      for (let r = V; r < rows; r++) all.set(row, r * row.length);
      return all;
    },
  };
}

async function writeShards(
  dir: string,
  tensors: Map<string, Moving>,
  total: number,
  onProgress?: ConvertOptions['onProgress'],
): Promise<void> {
  const shards = planShards(tensors, shardBytes);
  let done = 0;
  for (const { file, tensors: shard } of shards) {
    const read = async (name: string) => {
      const bytes = await shard.get(name)!.read();
      onProgress?.((done += bytes.length), total);
      return bytes;
    };
    await copySafetensors(path.join(dir, file), shard, read, { format: 'pt' });
  }
  await writeIndex(dir, shards);
}

/** What goes along as it is: the tokenizer, templates, how answers end, how pictures are prepared. */
async function copyOthers(dir: string, to: string): Promise<void> {
  const wanted = /^(?!config\.json$)(?!.*\.index\.json$)[^.].*\.(json|jinja|model|txt)$/;
  for (const name of await readdir(dir)) {
    if (wanted.test(name)) await cp(path.join(dir, name), path.join(to, name), { dereference: true });
  }
}

/**
 * A tokenizer that knows the new words.
 * @param V the vocabulary before they came; undefined where none came
 * @returns what is still missing
 */
async function finishTokenizer(
  dir: string,
  V: number | undefined,
  { tokenizer }: ConvertOptions,
): Promise<string | undefined> {
  if (tokenizer !== undefined) {
    const names = (await readdir(tokenizer)).filter((name) =>
      /^(tokenizer.*\.json|special_tokens_map\.json|chat_template.*)$/.test(name),
    );
    if (!names.includes('tokenizer.json')) throw new UserError(`${tokenizer} has no tokenizer.json`);
    for (const name of names)
      await cp(path.join(tokenizer, name), path.join(dir, name), { dereference: true });
  }
  const found = await readJson(path.join(dir, 'tokenizer.json'));
  if (!found) {
    return 'there is no tokenizer.json, without which it is asked in token ids only: --tokenizer names a folder that has one, such as that of llava-hf/llava-1.5-7b-hf';
  }
  if (V === undefined) return undefined;
  const added = (Array.isArray(found['added_tokens']) ? found['added_tokens'] : []) as {
    content?: unknown;
  }[];
  const missing = addedWords.filter((word) => !added.some(({ content }) => content === word));
  if (missing.length === 0) return undefined;
  const more = missing.map((content) => ({
    ...{ id: V + addedWords.indexOf(content), content, single_word: false, lstrip: false, rstrip: false },
    ...{ normalized: false, special: true },
  }));
  await writeJsonFiles(dir, { 'tokenizer.json': { ...found, added_tokens: [...added, ...more] } });
  return undefined;
}
