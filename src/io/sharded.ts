/**
 * The weights of a checkpoint folder, in one file or in several. Large models come as shards,
 * `model-00001-of-00003.safetensors` and so on, and `model.safetensors.index.json` says which tensor is where:
 *
 *     { "metadata": { … }, "weight_map": { "TENSOR": "SHARD", … } }
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../errors.ts';
import { readText, reasonOf } from '../files.ts';
import { nameOtherWeights } from './other-formats.ts';
import { openSafetensors } from './safetensors.ts';
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
  readFloat32(name: string): Promise<Float32Array>;
  /** As {@link SafetensorsFile.readRaw}. */
  readRaw(name: string, into?: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void>;
  /** Bytes of all tensors, as stored. */
  bytes: number;
}

/**
 * Opens a folder's weights; the caller closes them. `model.safetensors` is preferred where there is an index too.
 *
 * @throws UserError if there are none, or a file is missing or malformed, or index and shards disagree
 */
export async function openWeights(dir: string): Promise<WeightFiles> {
  const names = await listFolder(dir);
  if (names.includes(singleName)) return openFiles(dir, [singleName]);
  if (!names.includes(indexName)) throw new UserError(describeLack(dir, names));

  const indexPath = join(dir, indexName);
  const placement = await readIndex(indexPath);
  const shards = [...new Set(placement.values())].sort();
  const missing = shards.find((shard) => !names.includes(shard));
  if (missing) throw new UserError(`${indexPath} names the shard ${missing}, which is not in the folder`);

  const weights = await openFiles(dir, shards);
  try {
    checkPlacement(weights, placement, indexPath);
    return weights;
  } catch (error) {
    await weights.close();
    throw error;
  }
}

/** Whether a folder has weights that {@link openWeights} would look at. */
export async function hasWeights(dir: string): Promise<boolean> {
  const names = await listFolder(dir);
  return names.includes(singleName) || names.includes(indexName);
}

async function listFolder(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    throw new UserError(`cannot read the folder ${dir}: ${reasonOf(error)}`);
  }
}

function describeLack(dir: string, names: string[]): string {
  const lack = `${dir} has neither ${singleName} nor ${indexName}`;
  const other = nameOtherWeights(names);
  return other ? `${lack}; ${other}` : lack;
}

/** Tensor name → name of its shard, a plain file name. */
async function readIndex(path: string): Promise<Map<string, string>> {
  const text = await readText(path).catch((error: unknown) => {
    throw error instanceof UserError ? error : new UserError(`cannot read ${path}: ${reasonOf(error)}`);
  });
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

async function openFiles(dir: string, names: string[]): Promise<WeightFiles> {
  const opened: SafetensorsFile[] = [];
  const close = async () => {
    await Promise.all(opened.map((file) => file.close()));
  };
  const owners = new Map<string, SafetensorsFile>();
  const tensors = new Map<string, TensorInfo>();
  try {
    for (const name of names) {
      const file = await openSafetensors(join(dir, name));
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
    if (!owner) throw new UserError(`${dir} has no tensor ${JSON.stringify(name)}`);
    return owner;
  };
  return {
    dir,
    files: opened.map((file) => file.path),
    tensors,
    bytes: [...tensors.values()].reduce((sum, { begin, end }) => sum + end - begin, 0),
    readFloat32: async (name) => ownerOf(name).readFloat32(name),
    readRaw: async (name, into) => ownerOf(name).readRaw(name, into),
    close,
  };
}

/** The index and the shards must tell the same story. */
function checkPlacement(weights: WeightFiles, placement: Map<string, string>, indexPath: string): void {
  for (const [tensor, shard] of placement) {
    if (weights.tensors.get(tensor)?.file !== join(weights.dir, shard)) {
      throw new UserError(`${indexPath} places tensor ${JSON.stringify(tensor)} in ${shard}, which lacks it`);
    }
  }
  for (const { name, file } of weights.tensors.values()) {
    if (!placement.has(name))
      throw new UserError(`${file}: tensor ${JSON.stringify(name)} is not in ${indexPath}`);
  }
}
