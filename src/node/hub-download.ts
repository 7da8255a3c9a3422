/** Fetches a model of the Hugging Face Hub into its cache, where transformers finds it too, or into a folder of one's own. */
import { rmdir } from 'node:fs/promises';
import path from 'node:path';
import { UserError } from '../errors.ts';
import { requireRoom } from './disk.ts';
import { makeFolder } from './files.ts';
import { formatModel, parseModelName, type HubModel } from './hub-cache.ts';
import { listModel, type HubFile } from './hub-listing.ts';
import { openHub, type Hub } from './hub-requests.ts';
import { cacheStore, findThere, folderStore, sizeOf, type Store } from './hub-store.ts';
import { fetchFile, incomplete } from './hub-transfer.ts';
import { alone } from './lock.ts';

/** What to download, and to where. */
export interface DownloadOptions {
  /** A branch, a tag or a commit, where the name has none; `main` where neither has. */
  revision?: string;
  /** A folder to make, in place of the cache. */
  to?: string;
  /** Names the hub, its token and the cache; that of the process where left out. */
  env?: NodeJS.ProcessEnv;
  /** Milliseconds before each further try of what was dropped. */
  pauses?: readonly number[];
  /** Bytes that are there, and bytes in all. */
  onProgress?: (done: number, total: number) => void;
}

/** What was downloaded. */
export interface Downloaded {
  /** Where the model is now. */
  folder: string;
  commit: string;
  files: number;
  bytes: number;
  /** Of these bytes, those that were not there before. */
  fetched: number;
}

/**
 * Fetches what this program reads of a model, or what is missing of it. What is not whole is never taken for a model; the same
 * call goes on from there.
 * @param name `org/name`, or `org/name@revision`
 * @throws UserError for what is no such name, what the hub refuses, sends wrong or not at all, and where it cannot be written
 */
export async function downloadModel(name: string, options: DownloadOptions = {}): Promise<Downloaded> {
  const { to, env, pauses, onProgress } = options;
  const model = readModelName(name, options.revision);
  const hub = openHub(model, env, pauses);
  const { commit, files } = await listModel(hub);
  const there = to === undefined ? undefined : await findThere(to, files);
  if (there) return { folder: there, commit, fetched: 0, ...sumOf(files) };

  const store = to === undefined ? cacheStore(model, commit, files, env) : folderStore(to, commit);
  await makeFolder(path.dirname(store.lock));
  return alone(store.lock, `downloading ${formatModel(model)}`, async () => {
    await makeFolder(store.root);
    try {
      const fetched = await fetchAll(hub, commit, files, store, onProgress);
      return { folder: await store.finish(), commit, fetched, ...sumOf(files) };
    } catch (error) {
      const made = [path.dirname(store.place(files[0])), store.root];
      for (const folder of made) await rmdir(folder).catch(() => undefined); // where nothing came at all
      throw error;
    }
  });
}

function readModelName(name: string, revision?: string): HubModel {
  const model = parseModelName(name);
  if (!model) {
    const should = 'it should be org/name, or org/name@revision';
    throw new UserError(`${name} names no model of the Hugging Face Hub: ${should}`);
  }
  if (revision === undefined) return model;
  const other = parseModelName(`${model.name}@${revision}`);
  if (!other) throw new UserError(`--revision ${revision}: is no name of a branch, tag or commit`);
  if (name.includes('@') && model.revision !== revision) {
    throw new UserError(`${name} and --revision ${revision} name two revisions`);
  }
  return other;
}

const sumOf = (files: readonly HubFile[]) => ({
  files: files.length,
  bytes: files.reduce((sum, { size }) => sum + size, 0),
});

/** @returns how many bytes came */
async function fetchAll(
  hub: Hub,
  commit: string,
  files: readonly HubFile[],
  { root, place }: Store,
  onProgress: DownloadOptions['onProgress'],
): Promise<number> {
  const isThere = async (file: HubFile) => (await sizeOf(place(file))) === file.size;
  const total = sumOf(files).bytes;
  let needed = 0;
  for (const file of files) {
    if (!(await isThere(file))) needed += file.size - ((await sizeOf(incomplete(place(file)))) ?? 0);
  }
  await requireRoom(root, needed);
  let done = 0;
  for (const file of files) {
    const inside = file.path.split('/').map(encodeURIComponent).join('/');
    const address = `${hub.endpoint}/${hub.model.name}/resolve/${commit}/${inside}`;
    const tell = (bytes: number) => onProgress?.(done + bytes, total);
    if (!(await isThere(file))) {
      await makeFolder(path.dirname(place(file)));
      await fetchFile(hub, address, file, place(file), tell);
    }
    done += file.size;
  }
  return needed;
}
