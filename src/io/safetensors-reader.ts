/** Reading a safetensors file lazily: the header when it is opened, a tensor when it is asked for. */
import { open, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { UserError, messageOf } from '../errors.ts';
import { reasonOf, refusePointer } from '../files.ts';
import { toFloat32, toInt32 } from './dtype.ts';
import { nameOtherFormat } from './other-formats.ts';
import { describeTensor, parseHeader, prefixBytes, readHeaderLength } from './safetensors-header.ts';
import type { Header, TensorInfo } from './safetensors-header.ts';

export interface SafetensorsFile extends Header {
  path: string;
  /** The tensor's bytes, little-endian, in a buffer of exactly their length; or at the beginning of `into`. */
  readRaw(name: string, into?: Uint8Array): Promise<Uint8Array>;
  /** The tensor's values as float32, whatever its dtype; row-major in its shape. */
  readFloat32(name: string): Promise<Float32Array>;
  /** The values of an integer tensor; refused where one does not fit in 32 bits. */
  readInt32(name: string): Promise<Int32Array>;
  /** Closes the file; again if need be. Nothing can be read after. */
  close(): Promise<void>;
}

/**
 * Opens a safetensors file and checks its whole header; the caller closes it.
 *
 * @throws UserError if the file cannot be read, or breaks a rule of the format; it is closed then
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const handle = await openFile(path);
  let header: Header;
  try {
    header = await readHeader(handle, path);
  } catch (error) {
    await handle.close();
    throw error;
  }

  const readTensor = async (
    name: string,
    into?: Uint8Array,
  ): Promise<{ info: TensorInfo; raw: Uint8Array; what: string }> => {
    const info = header.tensors.get(name);
    if (!info) throw new UserError(`${path} has no tensor ${JSON.stringify(name)}`);
    const what = describeTensor(name, path);
    return { info, raw: await readAt(handle, info.begin, info.end - info.begin, what, into), what };
  };
  return {
    path,
    ...header,
    readRaw: async (name, into) => (await readTensor(name, into)).raw,
    readFloat32: async (name) => {
      const { raw, info } = await readTensor(name);
      return toFloat32(raw, info.dtype);
    },
    readInt32: async (name) => {
      const { raw, info, what } = await readTensor(name);
      return toInt32(raw, info.dtype, what);
    },
    close: () => handle.close(),
  };
}

async function openFile(path: string): Promise<FileHandle> {
  let isFile: boolean;
  try {
    isFile = (await stat(path)).isFile(); // asked first: opening a pipe would wait for its writer
    if (isFile) return await open(path);
  } catch (error) {
    throw new UserError(`cannot read ${path}: ${reasonOf(error)}`);
  }
  throw new UserError(`${path} is not a file`);
}

async function readHeader(handle: FileHandle, path: string): Promise<Header> {
  const what = `${path}: the header`;
  const fileBytes = (await handle.stat()).size;
  const start = await readAt(handle, 0, Math.min(64, fileBytes), what);
  refusePointer(start, path);
  const other = nameOtherFormat(start);
  if (other && start[prefixBytes] !== '{'.charCodeAt(0)) throw new UserError(`${path} is ${other}`);
  const length = readHeaderLength(start.slice(0, prefixBytes), fileBytes, path);
  return parseHeader(await readAt(handle, prefixBytes, length, what), fileBytes, path);
}

/** `length` bytes from `position` on, in a buffer of their own unless given one. A read may stop short, so it is asked again. */
async function readAt(
  handle: FileHandle,
  position: number,
  length: number,
  what: string,
  into: Uint8Array = allocate(length, what),
): Promise<Uint8Array> {
  const bytes = into.subarray(0, length);
  let done = 0;
  while (done < length) {
    const ask = Math.min(length - done, 2 ** 30); // Node reads less than 2 GiB at once
    const { bytesRead } = await handle.read(bytes, done, ask, position + done);
    if (bytesRead === 0) {
      throw new UserError(`${what} broke off while it was read: ${done} of ${length} bytes were there`);
    }
    done += bytesRead;
  }
  return bytes;
}

/** @throws UserError where there is no memory */
export function allocate(length: number, what: string): Uint8Array {
  try {
    return new Uint8Array(length);
  } catch (error) {
    throw new UserError(`${what} takes ${length} bytes, for which there is no memory: ${messageOf(error)}`);
  }
}
