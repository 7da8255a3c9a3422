/**
 * The number formats of a safetensors file, and the two ways out of them: every weight becomes float32, every
 * token id int32. Bytes are little-endian in the file and, as everywhere TensorFlow.js runs, in memory.
 */
import { UserError } from '../errors.ts';
import { decodeBf16, decodeF16, encodeBf16, encodeF16 } from './half.ts';

/** The types of safetensors. */
export type Dtype =
  'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U64' | 'U32' | 'U16' | 'U8' | 'BOOL';

/** Bytes per value. */
export const dtypeBytes: Record<Dtype, number> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
};

interface ViewType<A> {
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): A;
  BYTES_PER_ELEMENT: number;
}

/** `raw` seen as an array of wider values; copied first if it does not start at a multiple of their size. */
function viewAs<A>(View: ViewType<A>, raw: Uint8Array): A {
  const size = View.BYTES_PER_ELEMENT;
  if (raw.byteLength % size !== 0)
    throw new RangeError(`${raw.byteLength} bytes are no whole ${size}-byte values`);
  const aligned = raw.byteOffset % size === 0 ? raw : Uint8Array.from(raw);
  return new View(aligned.buffer, aligned.byteOffset, raw.byteLength / size);
}

/** The values as JavaScript holds them: numbers, or bigints for the 64-bit integers. */
function integersOf(raw: Uint8Array, dtype: Dtype) {
  switch (dtype) {
    case 'I64':
      return viewAs(BigInt64Array, raw);
    case 'U64':
      return viewAs(BigUint64Array, raw);
    case 'I32':
      return viewAs(Int32Array, raw);
    case 'U32':
      return viewAs(Uint32Array, raw);
    case 'I16':
      return viewAs(Int16Array, raw);
    case 'U16':
      return viewAs(Uint16Array, raw);
    case 'I8':
      return viewAs(Int8Array, raw);
    case 'U8':
      return raw;
    case 'BOOL':
      return raw.map((byte) => (byte === 0 ? 0 : 1));
    case 'F64':
    case 'F32':
    case 'F16':
    case 'BF16':
      return undefined;
  }
}

/**
 * Little-endian bytes to float32. F16 and BF16 widen exactly; F64 and large integers round to the nearest.
 * For F32 the result is a view of `raw` itself where its alignment allows, else a copy.
 *
 * @param raw any bytes, aligned or not; their number is a multiple of `dtypeBytes[dtype]`
 */
export function toFloat32(raw: Uint8Array, dtype: Dtype): Float32Array {
  switch (dtype) {
    case 'F32':
      return viewAs(Float32Array, raw);
    case 'F64':
      return new Float32Array(viewAs(Float64Array, raw));
    case 'F16':
      return decodeF16(viewAs(Uint16Array, raw));
    case 'BF16':
      return decodeBf16(viewAs(Uint16Array, raw));
    case 'I64':
    case 'U64':
      return Float32Array.from(integersOf(raw, dtype) as BigInt64Array, Number);
    case 'I32':
    case 'U32':
    case 'I16':
    case 'U16':
    case 'I8':
    case 'U8':
    case 'BOOL':
      return new Float32Array(integersOf(raw, dtype) as Int32Array);
  }
}

/**
 * Little-endian bytes of an integer dtype to int32; I32 as in {@link toFloat32}, a view where possible.
 *
 * @param what names the tensor in messages: `model.safetensors: tensor "x"`
 * @throws UserError if the dtype is a float, or a value lies outside −2³¹ … 2³¹−1
 */
export function toInt32(raw: Uint8Array, dtype: Dtype, what: string): Int32Array {
  const integers = integersOf(raw, dtype);
  if (integers === undefined) throw new UserError(`${what} is ${dtype}, but integers are needed`);
  if (integers instanceof Int32Array) return integers;

  const result = new Int32Array(integers.length);
  for (let i = 0; i < integers.length; i++) {
    result[i] = Number(integers[i]); // wraps around if it does not fit
    if (result[i] !== Number(integers[i])) {
      throw new UserError(`${what} holds ${integers[i]} at index ${i}, which does not fit in 32 bits`);
    }
  }
  return result;
}

/** float32 values to little-endian bytes of a float dtype, rounding to the nearest, ties to even. */
export function encodeFloat32(values: Float32Array, dtype: 'F32' | 'F16' | 'BF16' | 'F64'): Uint8Array {
  switch (dtype) {
    case 'F32':
      return new Uint8Array(values.slice().buffer);
    case 'F64':
      return new Uint8Array(Float64Array.from(values).buffer);
    case 'F16':
      return new Uint8Array(encodeF16(values).buffer);
    case 'BF16':
      return new Uint8Array(encodeBf16(values).buffer);
  }
}
