/**
 * The weights of a checkpoint folder, in one file or in several. Large models come as shards,
 * `model-00001-of-00003.safetensors` and so on, and `model.safetensors.index.json` says which tensor is where:
 *
 *     { "metadata": { … }, "weight_map": { "TENSOR": "SHARD", … } }
 */
import { UserError } from '../errors.ts';
import { readText, type Folder } from '../folder.ts';
import { nameOtherWeights } from './other-formats.ts';
import { readSafetensors } from './safetensors.ts';
import type { SafetensorsFile, TensorInfo } from './safetensors.ts';
import { parseStrictJson } from './strict-json.ts';

const singleName = 'model.safetensors';
const indexName = 'model.safetensors.index.json';

/** A folder's weights: `model.safetensors`, or the shards that its index names, under one interface. */
export interface WeightFiles {
  dir: string;
  /** Paths of the files that are open. */
  files: string[];
  /** All files' tensors; a tensor's `file` tells which. */
  tensors: Map<string, TensorInfo>;
  /** A tensor of any float type, as float32. */
  readFloat32(name: string): Promise<Float32Array>;
  /** As {@link SafetensorsFile.readRaw}. */
  readRaw(name: string, into?: Uint8Array): Promise<Uint8Array>;
  /** Closes the files. */
  close(): Promise<void>;
  /** Bytes of all tensors, as stored. */
  bytes: number;
}

/**
 * Opens a folder's weights; the caller closes them. `model.safetensors` is preferred where there is an index too.
 *
 * @throws UserError if there are none, or a file is missing or malformed, or index and shards disagree
 */
export async function openWeights(folder: Folder): Promise<WeightFiles> {
  const { names, placement } = await findWeights(folder);
  const weights = await openFiles(folder, names);
  try {
    if (placement) checkPlacement(weights, placement, folder);
    return weights;
  } catch (error) {
    await weights.close();
    throw error;
  }
}

/** The files that {@link openWeights} would open. @throws UserError if there are none, or a shard is missing */
export const listWeights = async (folder: Folder): Promise<string[]> => (await findWeights(folder)).names;

async function findWeights(folder: Folder): Promise<{ names: string[]; placement?: Map<string, string> }> {
  if (await folder.has(singleName)) return { names: [singleName] };
  if (!(await folder.has(indexName))) throw new UserError(await describeLack(folder));

  const indexPath = folder.place(indexName);
  const placement = parseIndex(await readIndex(folder), indexPath);
  const names = [...new Set(placement.values())].sort();
  for (const shard of names) {
    if (await folder.has(shard)) continue;
    throw new UserError(`${indexPath} names the shard ${shard}, which is not in the folder`);
  }
  return { names, placement };
}

/** Whether a folder has weights that {@link openWeights} would look at. */
export async function hasWeights(folder: Folder): Promise<boolean> {
  return (await folder.has(singleName)) || (await folder.has(indexName));
}

async function describeLack(folder: Folder): Promise<string> {
  const lack = `${folder.name} has neither ${singleName} nor ${indexName}`;
  const other = nameOtherWeights(await folder.list());
  return other ? `${lack}; ${other}` : lack;
}

async function readIndex(folder: Folder): Promise<string> {
  const text = await readText(folder, indexName);
  if (text !== undefined) return text;
  throw new UserError(`cannot read ${folder.place(indexName)}: there is no such file or folder`);
}

/** Tensor name → name of its shard, a plain file name. */
function parseIndex(text: string, path: string): Map<string, string> {
  const index = parseStrictJson(text, path) as { weight_map?: unknown } | null;
  const map = index?.weight_map;
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw new UserError(`${path} has no weight_map from tensors to shards`);
  }

  const placement = new Map(Object.entries(map) as [string, unknown][]);
  if (placement.size === 0) throw new UserError(`${path}: weight_map is empty`);
  for (const [tensor, shard] of placement) {
    // A shard lies in the folder itself: an index from elsewhere must not make us read other files.
    if (typeof shard !== 'string' || /[/\\:\0]|\.\./.test(shard) || !shard.endsWith('.safetensors')) {
      throw new UserError(
        `${path} places tensor ${JSON.stringify(tensor)} in ${JSON.stringify(shard)}, which is not the name of a safetensors file in the folder`,
      );
    }
  }
  return placement as Map<string, string>;
}

async function openFiles(folder: Folder, names: string[]): Promise<WeightFiles> {
  const opened: SafetensorsFile[] = [];
  const close = async () => {
    await Promise.all(opened.map((file) => file.close()));
  };
  const owners = new Map<string, SafetensorsFile>();
  const tensors = new Map<string, TensorInfo>();
  try {
    for (const name of names) {
      const file = await readSafetensors(await folder.open(name));
      opened.push(file);
      for (const [tensor, info] of file.tensors) {
        const other = tensors.get(tensor);
        if (other)
          throw new UserError(`${other.file} and ${file.path} both hold tensor ${JSON.stringify(tensor)}`);
        tensors.set(tensor, info);
        owners.set(tensor, file);
      }
    }
  } catch (error) {
    await close();
    throw error;
  }

  const ownerOf = (name: string): SafetensorsFile => {
    const owner = owners.get(name);
    if (!owner) throw new UserError(`${folder.name} has no tensor ${JSON.stringify(name)}`);
    return owner;
  };
  return {
    dir: folder.name,
    files: opened.map((file) => file.path),
    tensors,
    bytes: [...tensors.values()].reduce((sum, { begin, end }) => sum + end - begin, 0),
    readFloat32: async (name) => ownerOf(name).readFloat32(name),
    readRaw: async (name, into) => ownerOf(name).readRaw(name, into),
    close,
  };
}

/** The index and the shards must tell the same story. */
function checkPlacement(weights: WeightFiles, placement: Map<string, string>, folder: Folder): void {
  const indexPath = folder.place(indexName);
  for (const [tensor, shard] of placement) {
    if (weights.tensors.get(tensor)?.file !== folder.place(shard)) {
      throw new UserError(`${indexPath} places tensor ${JSON.stringify(tensor)} in ${shard}, which lacks it`);
    }
  }
  for (const { name, file } of weights.tensors.values()) {
    if (!placement.has(name))
      throw new UserError(`${file}: tensor ${JSON.stringify(name)} is not in ${indexPath}`);
  }
}
