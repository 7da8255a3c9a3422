/** Reading a safetensors file lazily: the header when it is opened, a tensor when it is asked for. */
import { refusePointer } from '../bytes.ts';
import { UserError } from '../errors.ts';
import type { ByteSource } from '../folder.ts';
import { toFloat32, toInt32 } from './dtype.ts';
import { nameOtherFormat } from './other-formats.ts';
import { readAt } from './read-at.ts';
import { describeTensor, parseHeader, prefixBytes, readHeaderLength } from './safetensors-header.ts';
import type { Header, TensorInfo } from './safetensors-header.ts';

/** An open safetensors file: its header, and its tensors one by one. */
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
 * Takes a file for a safetensors file and checks its whole header; the caller closes it.
 *
 * @throws UserError if the file breaks a rule of the format; it is closed then
 */
export async function readSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  const path = source.name;
  let header: Header;
  try {
    header = await readHeader(source);
  } catch (error) {
    await source.close();
    throw error;
  }

  const readTensor = async (
    name: string,
    into?: Uint8Array,
  ): Promise<{ info: TensorInfo; raw: Uint8Array; what: string }> => {
    const info = header.tensors.get(name);
    if (!info) throw new UserError(`${path} has no tensor ${JSON.stringify(name)}`);
    const what = describeTensor(name, path);
    return { info, raw: await readAt(source, info.begin, info.end - info.begin, what, into), what };
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
    close: () => source.close(),
  };
}

async function readHeader(source: ByteSource): Promise<Header> {
  const { name: path, size: fileBytes } = source;
  const what = `${path}: the header`;
  const start = await readAt(source, 0, Math.min(64, fileBytes), what);
  refusePointer(start, path);
  const other = nameOtherFormat(start);
  if (other && start[prefixBytes] !== '{'.charCodeAt(0)) throw new UserError(`${path} is ${other}`);
  const length = readHeaderLength(start.slice(0, prefixBytes), fileBytes, path);
  return parseHeader(await readAt(source, prefixBytes, length, what), fileBytes, path);
}
