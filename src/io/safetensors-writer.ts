/** A safetensors file's bytes: the same content always gives the same. */
import { UserError } from '../errors.ts';
import { dtypeBytes, encodeFloat32 } from './dtype.ts';
import type { Dtype } from './dtype.ts';
import { checkDtype, checkShape, countBytes, describeTensor, prefixBytes } from './safetensors-header.ts';

/** A tensor as it goes into a file. */
export interface TensorToWrite {
  dtype: Dtype;
  shape: readonly number[];
  /** Little-endian bytes of `dtype`, or float32 values for a float dtype, or int32 values for I32 and I64. */
  data: Uint8Array | Float32Array | Int32Array;
}

/** By their names. */
export type Tensors = Record<string, TensorToWrite> | Map<string, TensorToWrite>;

/** The dtypes as the Rust writer orders them: the widest first, so that every tensor begins aligned. */
const dtypeOrder: Dtype[] = [
  'U64',
  'I64',
  'F64',
  'F32',
  'U32',
  'I32',
  'BF16',
  'F16',
  'U16',
  'I16',
  'I8',
  'U8',
  'BOOL',
];

/**
 * Tensors are ordered by dtype and then by name, metadata by key, whatever the order they come in.
 *
 * @param path names the file in messages
 * @param metadata free text, as Hugging Face's `{ format: 'pt' }`
 * @returns the file in parts, each made when it is asked for: the header, then tensor by tensor
 * @throws UserError at once if a tensor is not what it says it is
 */
export function encodeSafetensors(
  path: string,
  tensors: Tensors,
  metadata: Record<string, string> = {},
): Iterable<Uint8Array> {
  const entries = tensors instanceof Map ? [...tensors] : Object.entries(tensors);
  for (const [name, tensor] of entries) checkTensor(name, tensor, path);
  entries.sort(byDtypeAndName);
  const header = encodeHeader(entries, metadata, path);

  return (function* () {
    yield header;
    for (const [, tensor] of entries) yield encodeTensor(tensor);
  })();
}

/** A tensor as it will be written, without its data. */
export type TensorSpec = Pick<TensorToWrite, 'dtype' | 'shape'>;

/**
 * The header alone, of tensors that are read one by one while they are written.
 * @returns it, and the tensors' names in the order in which their bytes follow
 * @throws UserError if a tensor is not what it says it is
 */
export function encodeSafetensorsHeader(
  path: string,
  tensors: ReadonlyMap<string, TensorSpec>,
  metadata: Record<string, string> = {},
): { header: Uint8Array; order: string[] } {
  const entries = [...tensors];
  for (const [name, spec] of entries) checkSpec(name, spec, path);
  entries.sort(byDtypeAndName);
  return { header: encodeHeader(entries, metadata, path), order: entries.map(([name]) => name) };
}

const byDtypeAndName = ([nameA, a]: [string, TensorSpec], [nameB, b]: [string, TensorSpec]): number =>
  dtypeOrder.indexOf(a.dtype) - dtypeOrder.indexOf(b.dtype) || compareText(nameA, nameB);

/** By UTF-8 bytes, as Rust compares strings; JavaScript's own order differs beyond U+FFFF. */
function compareText(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => new TextEncoder().encode(text));
  const at = left.findIndex((byte, i) => byte !== right[i]);
  return at < 0 ? left.length - right.length : left[at] - (right[at] ?? -1);
}

/** @returns its bytes */
function checkSpec(name: string, { dtype, shape }: TensorSpec, path: string): number {
  const what = describeTensor(name, path);
  if (name === '__metadata__') throw new UserError(`${path}: no tensor can be named "__metadata__"`);
  checkText(name, `${path}: the tensor name ${JSON.stringify(name)}`);
  checkDtype(dtype, what);
  checkShape(shape, what);
  return countBytes(dtype, shape, what);
}

function checkTensor(name: string, tensor: TensorToWrite, path: string): void {
  const { dtype, shape, data } = tensor;
  const what = describeTensor(name, path);
  const bytes = checkSpec(name, tensor, path);

  if (data instanceof Float32Array && !isFloat(dtype)) {
    throw new UserError(`${what} has float32 data, which is not written as ${dtype}`);
  }
  if (data instanceof Int32Array && dtype !== 'I32' && dtype !== 'I64') {
    throw new UserError(`${what} has int32 data, which is not written as ${dtype}`);
  }
  const given = data instanceof Uint8Array ? data.length : data.length * dtypeBytes[dtype];
  if (given !== bytes) {
    throw new UserError(
      `${what} has ${given} bytes of data, but ${dtype} [${shape.join(', ')}] takes ${bytes}`,
    );
  }
}

function checkText(text: string, what: string): void {
  if (/\p{Surrogate}/u.test(text)) throw new UserError(`${what} holds half of a surrogate pair`);
}

function isFloat(dtype: Dtype): dtype is 'F64' | 'F32' | 'F16' | 'BF16' {
  return dtype === 'F64' || dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
}

function encodeTensor({ dtype, data }: TensorToWrite): Uint8Array {
  if (data instanceof Float32Array && isFloat(dtype)) return encodeFloat32(data, dtype);
  if (data instanceof Int32Array && dtype === 'I64') {
    return new Uint8Array(BigInt64Array.from(data as Iterable<number>, BigInt).buffer);
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Length and JSON, padded with spaces to a multiple of 8. Joined by hand: an object would reorder its keys. */
function encodeHeader(
  entries: readonly [string, TensorSpec][],
  metadata: Record<string, string>,
  path: string,
): Uint8Array {
  const fields: string[] = [];
  const texts = Object.entries(metadata).sort(([a], [b]) => compareText(a, b));
  for (const [key, text] of texts) {
    const what = `${path}: metadata ${JSON.stringify(key)}`;
    if (typeof text !== 'string') throw new UserError(`${what} is not a string`);
    checkText(key + text, what);
  }
  if (texts.length > 0) fields.push(`"__metadata__":${JSON.stringify(Object.fromEntries(texts))}`);
  let begin = 0;
  for (const [name, { dtype, shape }] of entries) {
    const end = begin + countBytes(dtype, shape, name);
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
    begin = end;
  }

  const json = new TextEncoder().encode(`{${fields.join(',')}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  const header = new Uint8Array(prefixBytes + padded).fill(' '.charCodeAt(0));
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
  header.set(json, prefixBytes);
  return header;
}
