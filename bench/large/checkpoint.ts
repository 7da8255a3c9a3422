/**
 * A checkpoint of a published shape, with seeded random weights of the right scale in bfloat16: a Hugging Face folder like any
 * other, in a cache folder, with the shipped model's tokenizer: it can be asked in words, and answers noise. Each shard is
 * written whole or not at all, so what was begun goes on where it was broken off.
 */
import { existsSync } from 'node:fs';
import { copyFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { cacheFolder } from '../../src/backend/native.ts';
import { weightTable } from '../../src/checkpoint/names.ts';
import { encodeBf16 } from '../../src/io/half.ts';
import { leavesOf } from '../../src/io/weight-table.ts';
import { readArchitecture } from '../../src/node/checkpoint.ts';
import { requireRoom } from '../../src/node/disk.ts';
import { makeFolder, readJson, writeJsonFiles } from '../../src/node/files.ts';
import { shippedModel } from '../../src/node/shipped.ts';
import { writeSafetensors } from '../../src/node/safetensors.ts';
import { planShards, sumBytes, writeIndex } from '../../src/node/shards.ts';
import { fill, weightRecipe } from '../weights.ts';
import { sliceOf, type LargeName } from './shapes.ts';

/** Bytes of a shard, at most, unless a single tensor is larger. */
const shardBytes = 1e9;
/** What the disk keeps free besides. */
const spareBytes = 1e9;

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
  const specs = leavesOf(weightTable(architecture)).map(
    ({ name: tensor, shape }) => [tensor, { dtype: 'BF16' as const, shape }] as const,
  );
  const shards = planShards(new Map(specs), shardBytes);
  const missing = shards.filter(({ file }) => !existsSync(path.join(dir, file)));
  const needed = sumBytes(missing.flatMap(({ tensors }) => [...tensors.values()]));
  await requireRoom(dir, needed + spareBytes, 'VTC_CLS_CACHE names another folder');

  for (const { file, tensors } of missing) {
    say(`writing ${path.join(dir, file)}`);
    const entries = [...tensors].map(([tensor, spec]) => {
      const data = new Uint8Array(encodeBf16(fill(weightRecipe(tensor, spec.shape))).buffer);
      return [tensor, { ...spec, data }] as const;
    });
    await writeSafetensors(path.join(dir, file), new Map(entries), { format: 'pt' });
  }
  await writeIndex(dir, shards);
  return dir;
}

/** Bytes of a checkpoint's files. */
export async function sizeOf(files: readonly string[]): Promise<number> {
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}
