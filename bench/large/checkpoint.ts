/**
 * A checkpoint of a published shape, with seeded random weights of the right scale in bfloat16: a Hugging Face folder like any
 * other, in a cache folder, with the shipped model's tokenizer: it can be asked in words, and answers noise. Each shard is written whole or not at all, so what was begun goes on where it was broken off.
 */
import { existsSync } from 'node:fs';
import { copyFile, stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import { cacheFolder } from '../../src/backend/native.ts';
import { weightTable } from '../../src/checkpoint/names.ts';
import { UserError } from '../../src/errors.ts';
import { encodeBf16 } from '../../src/io/half.ts';
import { leavesOf } from '../../src/io/weight-table.ts';
import { readArchitecture } from '../../src/node/checkpoint.ts';
import { makeFolder, readJson, writeJsonFiles } from '../../src/node/files.ts';
import { shippedModel } from '../../src/node/shipped.ts';
import { writeSafetensors } from '../../src/node/safetensors.ts';
import { fill, weightRecipe } from '../weights.ts';
import { sliceOf, type LargeName } from './shapes.ts';

/** Bytes of a shard, at most, unless a single tensor is larger. */
const shardBytes = 1e9;

interface Planned {
  name: string;
  shape: number[];
}

const bytesOf = ({ shape }: Planned): number => 2 * shape.reduce((product, n) => product * n, 1);

/**
 * @param layers of the decoder, all where left out
 * @param say one line of progress
 * @returns the folder
 * @throws UserError where the disk has no room, with the numbers
 */
export async function makeCheckpoint(
  name: LargeName,
  { layers, say }: { layers?: number; say: (line: string) => void },
): Promise<string> {
  const dir = path.join(cacheFolder(), 'shapes', layers === undefined ? name : `${name}-${layers}-layers`);
  await makeFolder(dir);
  const tokenizer = ['tokenizer.json', 'tokenizer_config.json'];
  for (const file of tokenizer) await copyFile(path.join(shippedModel(), file), path.join(dir, file));
  const { image_token_index } = (await readJson(path.join(shippedModel(), 'config.json')))!;
  await writeJsonFiles(dir, { 'config.json': { ...sliceOf(name, layers), image_token_index } });
  const architecture = await readArchitecture(dir);
  const shards = share(leavesOf(weightTable(architecture)));
  const fileOf = (i: number) =>
    `model-${String(i + 1).padStart(5, '0')}-of-${String(shards.length).padStart(5, '0')}.safetensors`;
  const missing = shards.flatMap((tensors, i) =>
    existsSync(path.join(dir, fileOf(i))) ? [] : [{ tensors, i }],
  );
  await requireRoom(dir, sumOf(missing.flatMap(({ tensors }) => tensors)));

  for (const { tensors, i } of missing) {
    say(`writing ${path.join(dir, fileOf(i))}`);
    const entries = tensors.map(({ name: tensor, shape }) => {
      const data = new Uint8Array(encodeBf16(fill(weightRecipe(tensor, shape))).buffer);
      return [tensor, { dtype: 'BF16' as const, shape, data }] as const;
    });
    await writeSafetensors(path.join(dir, fileOf(i)), new Map(entries), { format: 'pt' });
  }
  const placed = shards.flatMap((tensors, i) => tensors.map((tensor) => [tensor.name, fileOf(i)]));
  const index = {
    metadata: { total_size: sumOf(shards.flat()) },
    weight_map: Object.fromEntries(placed) as Record<string, string>,
  };
  await writeJsonFiles(dir, { 'model.safetensors.index.json': index });
  return dir;
}

/** Tensors in data order, in shards. */
function share(leaves: readonly Planned[]): Planned[][] {
  const shards: Planned[][] = [[]];
  for (const { name, shape } of leaves) {
    const shard = shards.at(-1)!;
    if (shard.length > 0 && sumOf(shard) + bytesOf({ name, shape }) > shardBytes)
      shards.push([{ name, shape }]);
    else shard.push({ name, shape });
  }
  return shards;
}

const sumOf = (tensors: readonly Planned[]): number => tensors.reduce((sum, one) => sum + bytesOf(one), 0);

async function requireRoom(dir: string, needed: number): Promise<void> {
  const { bavail, bsize } = await statfs(dir);
  if (bavail * bsize > needed + 1e9) return;
  const gb = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  throw new UserError(
    `${dir} has ${gb(bavail * bsize)} free, and ${gb(needed + 1e9)} are needed: VTC_CLS_CACHE names another folder`,
  );
}

/** Bytes of a checkpoint's files. */
export async function sizeOf(files: readonly string[]): Promise<number> {
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}
