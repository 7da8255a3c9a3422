import { createHash, randomBytes } from 'node:crypto';
import {
  access,
  constants,
  lstat,
  mkdir,
  open,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  type FileHandle,
} from 'node:fs/promises';
import { createReadStream, type Stats } from 'node:fs';
import path from 'node:path';
import { decodeText } from '../bytes.ts';
import { messageOf, UserError } from '../errors.ts';
import { parseObject, type JsonObject } from '../json.ts';

const reasons: Record<string, string> = {
  ENOENT: 'there is no such file or folder',
  EISDIR: 'it is a folder',
  EEXIST: 'it is there already',
  ENOTDIR: 'a part of its path is not a folder',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space is left on the device',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file system takes no file of this size',
  EIO: 'the device fails',
  ENAMETOOLONG: 'a name in its path is too long',
  ELOOP: 'its links lead in a circle',
  EMFILE: 'too many files are open',
  ERR_INVALID_ARG_VALUE: 'a null byte is no part of a name',
};

/** Why the operating system refused, in words. */
export function reasonOf(error: unknown): string {
  return reasons[codeOf(error) ?? ''] ?? messageOf(error);
}

export const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

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
 * {@link decodeText} of a file.
 * @throws UserError naming the file; the operating system's error where there is no such file
 */
export async function readText(file: string): Promise<string> {
  const bytes = await readWhole(file).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') throw error;
    throw new UserError(`cannot read ${file}: ${reasonOf(error)}`);
  });
  return decodeText(bytes, file);
}

/**
 * Reads a JSON file that holds one object.
 * @returns undefined when there is no such file
 * @throws UserError when it cannot be read, is not JSON, or is not an object
 */
export async function readJson(file: string): Promise<JsonObject | undefined> {
  let text: string;
  try {
    text = await readText(file);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  return parseObject(text, file);
}

/** Writes a folder's JSON files, by name; the folder is made where it is not there. */
export async function writeJsonFiles(dir: string, files: Record<string, object>): Promise<void> {
  await makeFolder(dir);
  for (const [name, content] of Object.entries(files)) {
    await writeText(path.join(dir, name), `${JSON.stringify(content, null, 2)}\n`);
  }
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
  const target = await findTarget(file);
  const temporary = besides(target);
  try {
    const handle = await openNew(temporary);
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

/** A new name beside a file: a rename must not cross file systems. */
const besides = (file: string): string => `${file}.${randomBytes(6).toString('hex')}.tmp`;

/** Opens a file that is not there yet. @throws Error where a folder that is there takes no files, as those of /proc */
export async function openNew(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'wx');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw new Error(`${path.dirname(file)} cannot hold files`);
    throw error;
  }
}

/** {@link writeAtomically} of a text. */
export function writeText(file: string, text: string): Promise<void> {
  return writeAtomically(file, (handle) => handle.writeFile(text));
}

/**
 * Makes a folder, and those above it, where they are not there yet.
 * @throws UserError naming the folder and what stands in its way; none of them is left behind
 */
export async function makeFolder(dir: string): Promise<void> {
  const missing: string[] = []; // the deepest first
  try {
    if (dir === '') throw new Error('its name is empty');
    let place = path.resolve(dir);
    let found = await lookAt(place);
    while (!found) {
      missing.push(place);
      place = path.dirname(place);
      found = await lookAt(place);
    }
    if (!found.isDirectory()) throw new Error(`${place} is not a folder`);
    if (missing.length === 0) return;
    await access(place, constants.W_OK).catch((error: unknown) => {
      throw new Error(`in ${place} ${reasonOf(error)}`);
    });
    // One by one: Node's recursive mkdir never comes back from /proc.
    for (const folder of missing.toReversed()) await makeOne(folder);
  } catch (error) {
    for (const folder of missing) await rmdir(folder).catch(() => undefined); // made in part
    throw new UserError(`cannot make the folder ${dir}: ${reasonOf(error)}`);
  }
}

async function makeOne(folder: string): Promise<void> {
  await mkdir(folder).catch((error: unknown) => {
    if (codeOf(error) === 'EEXIST') return; // another process was faster
    throw codeOf(error) === 'ENOENT' ? new Error(`${path.dirname(folder)} cannot hold folders`) : error;
  });
}

/**
 * Refuses an output that could not be written, before the work that it is to hold. A device or a pipe is refused
 * too: a rename would put a file in its place.
 * @throws UserError naming the file
 */
export async function checkWritable(file: string): Promise<void> {
  const trial = besides(await findTarget(file)); // no other way tells what the system will say
  try {
    await (await openNew(trial)).close();
    await rm(trial);
  } catch (error) {
    throw new UserError(`cannot write ${file}: ${reasonOf(error)}`);
  }
}

/**
 * The place, behind its links, that a file's bytes would go to.
 * @throws UserError naming the file where that is no place for one
 */
async function findTarget(file: string): Promise<string> {
  const folder = path.dirname(file);
  try {
    if (path.basename(file) === '' || file.endsWith(path.sep)) throw new Error('it names no file');
    const holder = await lookAt(folder);
    if (!holder) throw new Error(`there is no folder ${folder}`);
    if (!holder.isDirectory()) throw new Error(`${folder} is not a folder`);
    const found = await lookAt(file);
    if (found?.isDirectory()) throw new Error('it is a folder');
    if (found && !found.isFile()) throw new Error('it is not a regular file');
    return found ? await realpath(file) : file;
  } catch (error) {
    throw new UserError(`cannot write ${file}: ${reasonOf(error)}`);
  }
}

/**
 * What is at a place, behind its links.
 * @returns undefined where nothing is
 * @throws Error for a link to nothing: whoever writes there would put a file in the link's place, or elsewhere
 */
async function lookAt(place: string): Promise<Stats | undefined> {
  const absent = (error: unknown) => {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '')) return undefined;
    throw error;
  };
  const own = await lstat(place).catch(absent);
  if (!own?.isSymbolicLink()) return own;
  const found = await stat(place).catch(absent);
  if (!found) throw new Error(`${place} is a link to ${await readlink(place)}, which is not there`);
  return found;
}

/** Digest of a file, in hexadecimal. @param head what is digested before it */
export async function digestFile(file: string, algorithm = 'sha256', head = ''): Promise<string> {
  if (!(await stat(file)).isFile()) throw new Error('it is not a regular file'); // a pipe would never end
  const hash = createHash(algorithm).update(head);
  for await (const piece of createReadStream(file)) hash.update(piece as Buffer);
  return hash.digest('hex');
}
