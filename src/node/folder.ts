/** A folder on disk, as the core reads it. */
import { open, readdir, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { UserError } from '../errors.ts';
import type { ByteSource, Folder } from '../folder.ts';
import { codeOf, readWhole, reasonOf } from './files.ts';

/** A folder on disk. */
export function diskFolder(dir: string): Folder {
  const place = (file: string) => path.join(dir, file);
  const list = (inside?: string) => (inside === undefined ? listFolder(dir) : listInside(place(inside)));
  return {
    name: dir,
    place,
    list,
    has: async (file) => (await list()).includes(file),
    read: async (file) => {
      try {
        return await readWhole(place(file));
      } catch (error) {
        if (codeOf(error) === 'ENOENT') return undefined;
        throw new UserError(`cannot read ${place(file)}: ${reasonOf(error)}`);
      }
    },
    open: (file) => openFile(place(file)),
  };
}

async function listFolder(dir: string): Promise<string[]> {
  return readdir(dir).catch((error: unknown) => {
    throw new UserError(`cannot read the folder ${dir}: ${reasonOf(error)}`);
  });
}

async function listInside(dir: string): Promise<string[]> {
  return readdir(dir).catch((error: unknown) => {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '')) return [];
    throw new UserError(`cannot read ${dir}: ${reasonOf(error)}`);
  });
}

/**
 * Opens a file for reading its parts; the caller closes it.
 * @throws UserError for what is no regular file: opening a pipe would wait for its writer
 */
export async function openFile(file: string): Promise<ByteSource> {
  const handle = await openHandle(file);
  try {
    const { size } = await handle.stat();
    return {
      name: file,
      size,
      read: async (position, into) => {
        const ask = Math.min(into.length, 2 ** 30); // Node reads less than 2 GiB at once
        return (await handle.read(into, 0, ask, position)).bytesRead;
      },
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function openHandle(file: string): Promise<FileHandle> {
  let isFile: boolean;
  try {
    isFile = (await stat(file)).isFile(); // asked first
    if (isFile) return await open(file);
  } catch (error) {
    throw new UserError(`cannot read ${file}: ${reasonOf(error)}`);
  }
  throw new UserError(`${file} is not a file`);
}
