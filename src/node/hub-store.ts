/** Where a model of the hub goes, and how its files become a model, at once and not before all are there. */
import { existsSync } from 'node:fs';
import { readdir, rename, rm, stat, symlink } from 'node:fs/promises';
import path from 'node:path';
import { UserError } from '../errors.ts';
import { makeFolder, reasonOf, writeText } from './files.ts';
import { checkWhole, hubCache, isCommit, modelFolder, type HubModel } from './hub-cache.ts';
import type { HubFile } from './hub-listing.ts';
import { digestOf } from './hub-transfer.ts';

/** Where a model's files go. */
export interface Store {
  /** A folder that is there, or will be, for all that is written. */
  root: string;
  lock: string;
  /** The place of a file's bytes. */
  place: (file: HubFile) => string;
  /** Makes a model of them. @returns its folder */
  finish: () => Promise<string>;
}

/** Bytes under their hash, a snapshot of links to them, and at last the branch's commit. */
export function cacheStore(
  model: HubModel,
  commit: string,
  files: readonly HubFile[],
  env?: NodeJS.ProcessEnv,
): Store {
  const root = modelFolder(model, env);
  const place = ({ hash }: HubFile) => path.join(root, 'blobs', hash);
  const snapshot = path.join(root, 'snapshots', commit);
  return {
    root,
    lock: path.join(hubCache(env), '.locks', path.basename(root), 'vtc-download.lock'),
    place,
    finish: async () => {
      for (const file of files) await link(place(file), path.join(snapshot, file.path)); // what makes it a model is the last
      await checkWhole(snapshot);
      if (!isCommit(model.revision)) {
        const ref = path.join(root, 'refs', model.revision);
        await makeFolder(path.dirname(ref));
        await writeText(ref, commit);
      }
      return snapshot;
    },
  };
}

/** A link that leads there wherever the cache is moved to. */
async function link(blob: string, place: string): Promise<void> {
  await makeFolder(path.dirname(place));
  try {
    if ((await sizeOf(place)) === (await sizeOf(blob))) return;
    await rm(place, { force: true });
    await symlink(path.relative(path.dirname(place), blob), place);
  } catch (error) {
    throw new UserError(`cannot link ${place}: ${reasonOf(error)}; --to DIR makes a folder without links`);
  }
}

/** All under a name that says that it is not whole, until it is. */
export function folderStore(to: string, commit: string): Store {
  const staging = `${path.resolve(to)}.${commit.slice(0, 12)}.incomplete`;
  return {
    root: staging,
    lock: `${staging}.lock`,
    place: (file) => path.join(staging, file.path),
    finish: async () => {
      await checkWhole(staging);
      await rename(staging, path.resolve(to)).catch((error: unknown) => {
        throw new UserError(`cannot rename ${staging} to ${to}: ${reasonOf(error)}`);
      });
      return to;
    },
  };
}

/** @returns the folder where it is this model already @throws UserError where it is anything else */
export async function findThere(to: string, files: readonly HubFile[]): Promise<string | undefined> {
  if (!existsSync(to)) return undefined;
  const names = await readdir(to).catch((error: unknown) => {
    throw new UserError(`--to ${to}: ${reasonOf(error)}`);
  });
  if (names.length === 0) return undefined;
  for (const file of files) {
    const place = path.join(to, file.path);
    if ((await sizeOf(place)) === file.size && (await digestOf(place, file)) === file.hash) continue;
    throw new UserError(
      `--to ${to}: it is there, and its ${file.path} is not this model's: name a new folder`,
    );
  }
  return to;
}

/** A file's bytes; undefined where there is none. */
export async function sizeOf(place: string): Promise<number | undefined> {
  const found = await stat(place).catch(() => undefined);
  return found?.isFile() ? found.size : undefined;
}
