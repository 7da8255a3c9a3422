/** PyTorch's own files of weights, `pytorch_model.bin`: a zip of a pickle and of one file for each storage. */
import { UserError } from '../errors.ts';
import type { ByteSource } from '../folder.ts';
import { dtypeBytes } from './dtype.ts';
import { readPickle, tensorsOf, type PickledTensor } from './pickle.ts';
import { readAt } from './read-at.ts';
import type { TensorInfo } from './safetensors-header.ts';
import { readZip } from './zip.ts';

/** An open file: what is in it, and a tensor's bytes where they are asked for. */
export interface TorchFile {
  path: string;
  tensors: Map<string, TensorInfo>;
  /** As {@link SafetensorsFile.readRaw}. */
  readRaw(name: string): Promise<Uint8Array>;
  close(): Promise<void>;
}

const mostPickleBytes = 100_000_000;

/**
 * Takes a file for one that torch.save wrote; the caller closes it.
 * @throws UserError for anything else, and for a pickle that asks for more than tensors; it is closed then
 */
export async function openTorchFile(source: ByteSource): Promise<TorchFile> {
  try {
    return await readTorchFile(source);
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function readTorchFile(source: ByteSource): Promise<TorchFile> {
  const { name: path } = source;
  const read = (begin: number, end: number) => readAt(source, begin, end - begin, path);
  const start = await read(0, Math.min(4, source.size));
  if (start[0] === 0x80) {
    throw new UserError(
      `${path} is in the format of PyTorch before 1.6: torch.load and torch.save it once in a newer PyTorch`,
    );
  }
  const entries = await readZip(source);
  const pickle = [...entries.values()].find(({ name }) => /^[^/]+\/data\.pkl$/.test(name));
  if (!pickle)
    throw new UserError(`${path} is a zip file without a data.pkl, so torch.save did not write it`);
  if (pickle.bytes > mostPickleBytes)
    throw new UserError(`${path}: its pickle has ${pickle.bytes} bytes, too many`);
  const root = pickle.name.slice(0, -'data.pkl'.length);
  const order = entries.get(`${root}byteorder`);
  if (order && order.bytes < 16) {
    const text = String.fromCharCode(...(await read(order.begin, order.begin + order.bytes)));
    if (text !== 'little')
      throw new UserError(`${path} was written on a machine of another byte order (${text})`);
  }
  const pickled = tensorsOf(readPickle(await read(pickle.begin, pickle.begin + pickle.bytes), path), path);
  const tensors = new Map<string, TensorInfo>();
  for (const [name, tensor] of pickled) {
    const what = `${path}: tensor ${JSON.stringify(name)}`;
    const storage = entries.get(`${root}data/${tensor.key}`);
    if (!storage) throw new UserError(`${what} lies in a storage that the file lacks`);
    tensors.set(name, { name, file: path, ...placeOf(tensor, storage, what) });
  }
  return {
    path,
    tensors,
    readRaw: async (name) => {
      const info = tensors.get(name);
      if (!info) throw new UserError(`${path} has no tensor ${JSON.stringify(name)}`);
      return read(info.begin, info.end);
    },
    close: () => source.close(),
  };
}

/** Where a tensor's values lie in the file, in one piece and row by row. */
function placeOf(
  { dtype, values, offset, shape, stride }: PickledTensor,
  storage: { begin: number; bytes: number },
  what: string,
): Pick<TensorInfo, 'dtype' | 'shape' | 'begin' | 'end'> {
  const size = dtypeBytes[dtype];
  const count = shape.reduce((product, n) => product * n, 1);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] > 1 && count > 0 && stride[axis] !== step) {
      throw new UserError(
        `${what} is no block of memory (strides ${stride.join(', ')}): save it with .contiguous()`,
      );
    }
    step *= shape[axis];
  }
  if (
    !Number.isSafeInteger(count) ||
    values * size !== storage.bytes ||
    !(offset >= 0 && offset + count <= values)
  ) {
    throw new UserError(`${what} does not fit the ${storage.bytes} bytes of its storage`);
  }
  const begin = storage.begin + offset * size;
  return { dtype, shape, begin, end: begin + count * size };
}
