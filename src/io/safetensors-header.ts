/**
 * The header of a safetensors file, and every way it can be wrong.
 *
 *     8 bytes    n, the length of the header, little-endian
 *     n bytes    JSON: { "__metadata__": { string: string },
 *                        "NAME": { "dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24] }, … }
 *     the rest   the tensors' bytes, which data_offsets cut up without gap or overlap
 *
 * Format: https://github.com/huggingface/safetensors. What its Rust reader refuses is refused here, and unknown
 * fields besides: a file that two programs could read differently is not read at all.
 */
import { UserError } from '../errors.ts';
import { dtypeBytes } from './dtype.ts';
import type { Dtype } from './dtype.ts';
import { isObject } from '../json.ts';
import { parseStrictJson } from './strict-json.ts';

/** What a header says of a tensor. */
export interface TensorInfo {
  name: string;
  dtype: Dtype;
  shape: number[];
  /** Absolute byte offsets in the file: [begin, end). */
  begin: number;
  end: number;
  file: string;
}

export interface Header {
  metadata: Record<string, string>;
  /** In the order of their data. */
  tensors: Map<string, TensorInfo>;
}

/** Bytes of the length that stands before the header. */
export const prefixBytes = 8;
/** The Rust reader's limit too: no one's header is longer than this by honest means. */
const maxHeaderBytes = 100_000_000;

const otherDtypes = 'F8_E4M3 F8_E5M2 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ F6_E2M3 F6_E3M2 F4 C64'.split(' ');

/** `FILE: tensor "x"`, as messages begin that are about it. */
export function describeTensor(name: string, file: string): string {
  return `${file}: tensor ${JSON.stringify(name)}`;
}

/** The header's length from the file's first 8 bytes (fewer if it has no more), checked against the file's own. */
export function readHeaderLength(prefix: Uint8Array, fileBytes: number, file: string): number {
  if (prefix.length < prefixBytes) {
    throw new UserError(`${file} has ${prefix.length} bytes, too few for a safetensors file`);
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
  if (length > maxHeaderBytes) {
    throw new UserError(
      `${file} is no safetensors file: its first 8 bytes announce a header of ${length} bytes, over the limit of ${maxHeaderBytes}`,
    );
  }
  if (Number(length) > fileBytes - prefixBytes) {
    throw new UserError(
      `${file} is cut short: its header should have ${length} bytes, but the file ends after ${fileBytes - prefixBytes} of them`,
    );
  }
  return Number(length);
}

/**
 * Reads and checks a whole header.
 *
 * @param bytes the header's JSON
 * @param fileBytes length of the file, to which the tensors' bytes must add up
 * @throws UserError naming the file, the tensor and the numbers
 */
export function parseHeader(bytes: Uint8Array, fileBytes: number, file: string): Header {
  const json = parseStrictJson(decodeHeader(bytes, file), `${file}: the header`, 'integers') as object;
  const dataBegin = prefixBytes + bytes.length;

  let metadata: Record<string, string> = {};
  const tensors: TensorInfo[] = [];
  for (const [name, entry] of Object.entries(json) as [string, unknown][]) {
    if (name === '__metadata__') metadata = checkMetadata(entry, file);
    else tensors.push(checkEntry(name, entry, file, dataBegin, fileBytes));
  }

  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end); // an empty tensor before what begins where it is
  checkTiling(tensors, file, dataBegin, fileBytes);
  return { metadata, tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])) };
}

function decodeHeader(bytes: Uint8Array, file: string): string {
  if (bytes[0] !== '{'.charCodeAt(0)) throw new UserError(`${file}: the header does not begin with "{"`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new UserError(`${file}: the header is not UTF-8 text`);
  }
}

function checkMetadata(value: unknown, file: string): Record<string, string> {
  if (!isObject(value)) throw new UserError(`${file}: __metadata__ is not an object of strings`);
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') {
      throw new UserError(`${file}: __metadata__ has ${JSON.stringify(key)}, which is not a string`);
    }
  }
  return value as Record<string, string>;
}

/** One entry of the header by itself; whether the entries fit together is for {@link checkTiling}. */
function checkEntry(
  name: string,
  entry: unknown,
  file: string,
  dataBegin: number,
  fileBytes: number,
): TensorInfo {
  const what = describeTensor(name, file);
  if (!isObject(entry)) throw new UserError(`${what} has an entry that is not an object`);
  const fields = new Map(Object.entries(entry) as [string, unknown][]);
  const known = ['dtype', 'shape', 'data_offsets'];
  const missing = known.find((field) => !fields.has(field));
  if (missing) throw new UserError(`${what} has no ${missing}`);
  const unknown = [...fields.keys()].find((field) => !known.includes(field));
  if (unknown !== undefined) throw new UserError(`${what} has an unknown field ${JSON.stringify(unknown)}`);

  const dtype = checkDtype(fields.get('dtype'), what);
  const shape = checkShape(fields.get('shape'), what);
  const bytes = countBytes(dtype, shape, what);

  const offsets = fields.get('data_offsets');
  if (!isArrayOfSizes(offsets) || offsets.length !== 2) {
    throw new UserError(`${what} has data_offsets ${JSON.stringify(offsets)}, not two non-negative integers`);
  }
  const [begin, end] = offsets;
  const claim = `${what} has data_offsets [${begin}, ${end}]`;
  const dataBytes = fileBytes - dataBegin;
  if (begin > end) throw new UserError(`${claim}, which end before they begin`);
  if (end > dataBytes) {
    throw new UserError(`${claim}, which reach beyond the file's ${dataBytes} bytes of data`);
  }
  if (end - begin !== bytes) {
    throw new UserError(
      `${claim}, which span ${end - begin} bytes, but ${dtype} [${shape.join(', ')}] takes ${bytes}`,
    );
  }
  return { name, dtype, shape, begin: dataBegin + begin, end: dataBegin + end, file };
}

function isArrayOfSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && (size as number) >= 0);
}

/** Also what the writer asks of its tensors. */
export function checkDtype(dtype: unknown, what: string): Dtype {
  if (typeof dtype === 'string' && Object.hasOwn(dtypeBytes, dtype)) return dtype as Dtype;
  const fault = otherDtypes.includes(dtype as string) ? 'unsupported' : 'unknown';
  throw new UserError(
    `${what} has the ${fault} dtype ${JSON.stringify(dtype)}; supported are ${Object.keys(dtypeBytes).join(', ')}`,
  );
}

/** Also what the writer asks of its tensors. */
export function checkShape(shape: unknown, what: string): number[] {
  if (isArrayOfSizes(shape)) return shape;
  throw new UserError(`${what} has shape ${JSON.stringify(shape)}, not a list of non-negative integers`);
}

/** Bytes of a tensor; refused if any product on the way, left to right, leaves the exact integers. */
export function countBytes(dtype: Dtype, shape: readonly number[], what: string): number {
  let bytes = 1;
  for (const size of [...shape, dtypeBytes[dtype]]) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) {
      throw new UserError(`${what} has shape [${shape.join(', ')}], too large to count its bytes`);
    }
  }
  return bytes;
}

/** The tensors, sorted, must cover the data exactly: no byte twice, none left over. */
function checkTiling(tensors: TensorInfo[], file: string, dataBegin: number, fileBytes: number): void {
  let covered = 0; // in the header's terms, from the begin of the data
  let previous = '';
  for (const tensor of tensors) {
    const begin = tensor.begin - dataBegin;
    const end = tensor.end - dataBegin;
    if (begin < covered) {
      throw new UserError(
        `${describeTensor(tensor.name, file)} has data_offsets [${begin}, ${end}], which begin before those of ${JSON.stringify(previous)} end at ${covered}`,
      );
    }
    if (begin > covered) {
      throw new UserError(
        `${file}: the data bytes from ${covered} to ${begin} belong to no tensor; the next is ${JSON.stringify(tensor.name)}`,
      );
    }
    covered = end;
    previous = tensor.name;
  }
  const dataBytes = fileBytes - dataBegin;
  if (covered < dataBytes) {
    throw new UserError(`${file}: the last data bytes, from ${covered} to ${dataBytes}, belong to no tensor`);
  }
}
