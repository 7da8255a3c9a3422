/** Room on a disk, asked before much is written. */
import { statfs } from 'node:fs/promises';
import { UserError } from '../errors.ts';

/** Bytes that may still be written to the disk of a folder. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/**
 * @param advice what helps
 * @throws UserError where the folder's disk has not so many bytes free
 */
export async function requireRoom(
  folder: string,
  needed: number,
  advice?: string,
  free: (folder: string) => Promise<number> = freeBytes,
): Promise<void> {
  const there = await free(folder);
  if (there >= needed) return;
  const because = advice === undefined ? '' : `: ${advice}`;
  throw new UserError(`${folder} has ${formatSize(there)} free, ${formatSize(needed)} are needed${because}`);
}

const formatSize = (bytes: number): string =>
  bytes < 1e9 ? `${Math.ceil(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
