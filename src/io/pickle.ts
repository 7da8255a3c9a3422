/**
 * What `torch.save` pickles of a state dict, read without running anything: a pickle is a program for a stack machine, and of
 * what it may call three names are known, which make tensors and dicts. Whatever else it names is refused by that name.
 *
 * Opcodes: Python's `pickletools`; protocols 2 to 5.
 */
import { UserError } from '../errors.ts';
import { decodeUtf8 } from '../bytes.ts';
import type { Dtype } from './dtype.ts';

/** A tensor as a pickle describes it: a view of a storage, which is a file of its own in the zip. */
export interface PickledTensor {
  kind: 'tensor';
  /** The storage's name. */
  key: string;
  dtype: Dtype;
  /** Values in the storage, and before the tensor's first. */
  values: number;
  offset: number;
  shape: number[];
  stride: number[];
}

/** PyTorch's storages, by their class names. */
const storages: Record<string, Dtype> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
};

type Value =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | Value[]
  | Tuple
  | Map<Value, Value>
  | Global
  | Storage
  | PickledTensor;
interface Tuple {
  kind: 'tuple';
  items: Value[];
}
interface Global {
  kind: 'global';
  name: string;
}
interface Storage {
  kind: 'storage';
  key: string;
  dtype: Dtype;
  values: number;
}
const mark = Symbol('mark');

const limits = { stack: 1_000_000 };

/**
 * @param file names it in messages
 * @throws UserError for a damaged pickle, and for one that asks for anything but tensors
 */
export function readPickle(bytes: Uint8Array, file: string): Value {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fail = (problem: string) => new UserError(`${file}: its pickle ${problem}`);
  const stack: (Value | typeof mark)[] = [];
  const memo = new Map<number, Value>();
  let at = 0;
  const take = (length: number): number => {
    if (!(length >= 0 && at + length <= bytes.length)) throw fail('is cut short');
    at += length;
    return at - length;
  };
  const text = (length: number): string => {
    const begin = take(length);
    return decodeUtf8(bytes.subarray(begin, begin + length), `${file}: a text in its pickle`);
  };
  const line = (): string => {
    const end = bytes.indexOf(10, at);
    if (end < 0) throw fail('is cut short');
    const read = text(end - at);
    at++;
    return read;
  };
  const push = (value: Value): void => {
    if (stack.length >= limits.stack) throw fail('is too deep');
    stack.push(value);
  };
  const pop = (): Value => {
    const value = stack.pop();
    if (value === undefined || value === mark) throw fail('takes more than it has');
    return value;
  };
  const popToMark = (): Value[] => {
    const from = stack.lastIndexOf(mark);
    if (from < 0) throw fail('takes more than it has');
    const items = stack.splice(from);
    return items.slice(1) as Value[];
  };
  const top = (): Value => {
    const value = stack.at(-1);
    if (value === undefined || value === mark) throw fail('takes more than it has');
    return value;
  };
  const recall = (place: number): void => {
    if (!memo.has(place)) throw fail('recalls what it has not kept');
    push(memo.get(place)!);
  };
  const tuple = (items: Value[]): Tuple => ({ kind: 'tuple', items });
  const setItems = (pairs: Value[]): void => {
    const dict = top();
    if (!(dict instanceof Map) || pairs.length % 2 !== 0) throw fail('sets items of what is no dict');
    for (let i = 0; i < pairs.length; i += 2) dict.set(pairs[i], pairs[i + 1]);
  };
  const append = (items: Value[]): void => {
    const list = top();
    if (!Array.isArray(list)) throw fail('appends to what is no list');
    for (const item of items) list.push(item);
  };
  const long = (length: number): number => {
    const begin = take(length);
    let value = 0n;
    for (let i = 0; i < length; i++) value |= BigInt(bytes[begin + i]) << BigInt(8 * i);
    const number = Number(BigInt.asIntN(8 * length || 1, value));
    if (!Number.isSafeInteger(number)) throw fail(`holds a whole number of ${length} bytes`);
    return number;
  };

  const opcodes: Record<number, () => void> = {
    0x80: () => void take(1), // PROTO
    0x95: () => void take(8), // FRAME
    0x28: () => void stack.push(mark),
    0x4e: () => push(null),
    0x88: () => push(true),
    0x89: () => push(false),
    0x4a: () => push(view.getInt32(take(4), true)),
    0x4b: () => push(view.getUint8(take(1))),
    0x4d: () => push(view.getUint16(take(2), true)),
    0x8a: () => push(long(view.getUint8(take(1)))),
    0x47: () => push(view.getFloat64(take(8), false)),
    0x58: () => push(text(view.getUint32(take(4), true))),
    0x8c: () => push(text(view.getUint8(take(1)))),
    0x55: () => push(text(view.getUint8(take(1)))), // SHORT_BINSTRING
    0x54: () => push(text(view.getInt32(take(4), true))), // BINSTRING
    0x29: () => push(tuple([])),
    0x74: () => push(tuple(popToMark())),
    0x85: () => push(tuple([pop()])),
    0x86: () => push(tuple([pop(), pop()].reverse())),
    0x87: () => push(tuple([pop(), pop(), pop()].reverse())),
    0x5d: () => push([]),
    0x61: () => append([pop()]),
    0x65: () => append(popToMark()),
    0x7d: () => push(new Map()),
    0x73: () => setItems([pop(), pop()].reverse()),
    0x75: () => setItems(popToMark()),
    0x71: () => void memo.set(view.getUint8(take(1)), top()),
    0x72: () => void memo.set(view.getUint32(take(4), true), top()),
    0x94: () => void memo.set(memo.size, top()),
    0x68: () => recall(view.getUint8(take(1))),
    0x6a: () => recall(view.getUint32(take(4), true)),
    0x63: () => push({ kind: 'global', name: `${line()}.${line()}` }),
    0x93: () => {
      const [name, module] = [pop(), pop()];
      if (typeof name !== 'string' || typeof module !== 'string') throw fail('names what is no text');
      push({ kind: 'global', name: `${module}.${name}` });
    },
    0x51: () => push(storageOf(pop(), fail)),
    0x52: () => {
      const [args, called] = [pop(), pop()];
      push(call(called, args, fail));
    },
    0x62: () => {
      pop(); // an OrderedDict's attributes, such as its _metadata
      if (!(top() instanceof Map)) throw fail('gives a state to what is no dict');
    },
    0x30: () => void pop(),
  };
  for (;;) {
    const opcode = bytes[take(1)];
    if (opcode === 0x2e) break; // STOP
    const run = opcodes[opcode] as (() => void) | undefined;
    if (!run) throw fail(`has the opcode 0x${opcode.toString(16)}, which a state dict does not need`);
    run();
  }
  return pop();
}

/** What a pickle may call. */
function call(called: Value, args: Value, fail: (problem: string) => UserError): Value {
  const name = isKind(called, 'global') ? called.name : 'what is no name';
  const items = isKind(args, 'tuple') ? args.items : [];
  switch (name) {
    case 'collections.OrderedDict':
      if (items.length > 0) throw fail('fills an OrderedDict by calling it');
      return new Map();
    case 'torch._utils._rebuild_parameter':
      if (!isKind(items[0], 'tensor')) throw fail('makes a parameter of what is no tensor');
      return items[0];
    case 'torch._utils._rebuild_tensor_v2':
      return tensorOf(items, fail);
    default:
      throw fail(`asks for ${name.slice(0, 200)}, which makes no tensor: it is not run`);
  }
}

function tensorOf(
  [storage, offset, shape, stride]: Value[],
  fail: (problem: string) => UserError,
): PickledTensor {
  const sides = (value: Value | undefined): number[] | undefined =>
    isKind(value, 'tuple') && value.items.every((n) => Number.isSafeInteger(n) && (n as number) >= 0)
      ? (value.items as number[])
      : undefined;
  const [dims, steps] = [sides(shape), sides(stride)];
  if (
    !isKind(storage, 'storage') ||
    !Number.isSafeInteger(offset) ||
    !dims ||
    steps?.length !== dims.length
  ) {
    throw fail('describes a tensor wrongly');
  }
  const { key, dtype, values } = storage;
  return { kind: 'tensor', key, dtype, values, offset: offset as number, shape: dims, stride: steps };
}

/** ('storage', torch.FloatStorage, key, location, values) */
function storageOf(id: Value, fail: (problem: string) => UserError): Storage {
  const [what, type, key, , values] = isKind(id, 'tuple') ? id.items : [];
  const name = isKind(type, 'global') ? type.name : '';
  const dtype = Object.hasOwn(storages, name.replace(/^torch\./, ''))
    ? storages[name.replace(/^torch\./, '')]
    : undefined;
  if (what !== 'storage' || typeof key !== 'string' || !Number.isSafeInteger(values))
    throw fail('describes a storage wrongly');
  if (!dtype) throw fail(`has a storage of type ${name.slice(0, 200)}, which is not read`);
  return { kind: 'storage', key, dtype, values: values as number };
}

function isKind<K extends 'tuple' | 'global' | 'storage' | 'tensor'>(
  value: Value | undefined,
  kind: K,
): value is Extract<Value, { kind: K }> {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === kind;
}

/** The tensors of a state dict, by name; also where it is one entry of a training checkpoint. */
export function tensorsOf(value: Value, file: string): Map<string, PickledTensor> {
  const dicts = value instanceof Map ? [value, ...['state_dict', 'model'].map((key) => value.get(key))] : [];
  for (const dict of dicts) {
    if (!(dict instanceof Map)) continue;
    const tensors = [...dict].filter(
      (entry): entry is [string, PickledTensor] => typeof entry[0] === 'string' && isKind(entry[1], 'tensor'),
    );
    if (tensors.length > 0) return new Map(tensors);
  }
  throw new UserError(`${file} holds no state dict: no tensor has a name in it`);
}
