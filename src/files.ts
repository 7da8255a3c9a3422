import { randomBytes } from 'node:crypto';
import {
  access,
  constants,
  mkdir,
  open,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  type FileHandle,
} from 'node:fs/promises';
import path from 'node:path';
import { messageOf, UserError } from './errors.ts';

const reasons: Record<string, string> = {
  ENOENT: 'there is no such file or folder',
  EISDIR: 'it is a folder',
  EEXIST: 'it is there already',
  ENOTDIR: 'a part of its path is not a folder',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space is left on the device',
};

/** Why the operating system refused, in words. */
export function reasonOf(error: unknown): string {
  return reasons[(error as NodeJS.ErrnoException).code ?? ''] ?? messageOf(error);
}

/**
 * Reads a whole file.
 * @throws the operating system's error, or an Error for what is no regular file: a pipe would never end
 */
export async function readWhole(file: string): Promise<Buffer> {
  const found = await stat(file);
  if (!found.isFile() && !found.isDirectory()) throw new Error('it is not a regular file');
  return readFile(file);
}

/**
 * Writes a file whole or not at all: under a temporary name beside it, then renamed. A link stays one: what it
 * points to is replaced.
 * @throws UserError naming the file when it cannot be written; nothing is left behind
 */
export async function writeAtomically(
  file: string,
  write: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  await checkWritable(file);
  const target = await realpath(file).catch(() => file);
  const temporary = `${target}.${randomBytes(6).toString('hex')}.tmp`; // a rename must not cross file systems
  try {
    const handle = await open(temporary, 'wx');
    try {
      await write(handle);
    } finally {
      await handle.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined); // the first error is the one to tell
    throw new UserError(`cannot write ${file}: ${reasonOf(error)}`);
  }
}

/** {@link writeAtomically} of a text. */
export function writeText(file: string, text: string): Promise<void> {
  return writeAtomically(file, (handle) => handle.writeFile(text));
}

/**
 * Makes a folder, and those above it, where they are not there yet.
 * @throws UserError naming the folder
 */
export async function makeFolder(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true }).catch((error: unknown) => {
    throw new UserError(`cannot make the folder ${dir}: ${reasonOf(error)}`);
  });
}

/**
 * Refuses an output that could not be written, before the work that it is to hold. A device or a pipe is refused
 * too: a rename would put a file in its place.
 * @throws UserError naming the file
 */
export async function checkWritable(file: string): Promise<void> {
  const folder = path.dirname(file);
  try {
    if (path.basename(file) === '' || file.endsWith(path.sep)) throw new Error('it names no file');
    if (!(await stat(folder)).isDirectory()) throw new Error(`${folder} is not a folder`);
    await access(folder, constants.W_OK);
    const found = await stat(file).catch(() => undefined);
    if (found?.isDirectory()) throw new Error('it is a folder');
    if (found && !found.isFile()) throw new Error('it is not a regular file');
  } catch (error) {
    throw new UserError(`cannot write ${file}: ${reasonOf(error)}`);
  }
}
