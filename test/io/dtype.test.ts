import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { dtypeBytes, encodeFloat32, toFloat32, toInt32 } from '../../src/io/dtype.ts';
import type { Dtype } from '../../src/io/dtype.ts';

const allCodes = Uint16Array.from({ length: 65_536 }, (_, code) => code);
const codesOf = (bytes: Uint8Array) => [...new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2)];
const bytesOf = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

interface Format {
  dtype: 'F16' | 'BF16';
  exponentBits: number;
  fractionBits: number;
}
const formats: Format[] = [
  { dtype: 'F16', exponentBits: 5, fractionBits: 10 },
  { dtype: 'BF16', exponentBits: 8, fractionBits: 7 },
];

/** IEEE 754's definition, in float64. */
function decodeNaively(code: number, { exponentBits, fractionBits }: Format): number {
  const sign = code >= 0x8000 ? -1 : 1;
  const bias = 2 ** (exponentBits - 1) - 1;
  const exponent = Math.floor((code % 0x8000) / 2 ** fractionBits);
  const fraction = (code % 2 ** fractionBits) / 2 ** fractionBits;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias);
  return sign * (1 + fraction) * 2 ** (exponent - bias);
}

/** The code whose value is nearest; of two, the even one; infinity counts as the power of two that would follow. */
function encodeNaively(value: number, format: Format): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const infinity = (2 ** format.exponentBits - 1) * 2 ** format.fractionBits;
  const overflow = 2 ** (2 ** (format.exponentBits - 1));
  const valueOf = (code: number) => (code === infinity ? overflow : decodeNaively(code, format));
  const target = Math.min(Math.abs(value), overflow);
  let low = 0;
  let high = infinity;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (valueOf(middle) <= target) low = middle;
    else high = middle;
  }
  const below = target - valueOf(low);
  const above = valueOf(high) - target;
  const nearest = below < above || (below === above && low % 2 === 0) ? low : high;
  return sign + nearest;
}

describe.each(formats)('$dtype', (format) => {
  test('every code decodes to the value that IEEE 754 gives it', () => {
    const values = toFloat32(bytesOf(allCodes), format.dtype);
    const wrong = [...allCodes].filter(
      (code) => !Object.is(values[code], decodeNaively(code, format)) && !Number.isNaN(values[code]),
    );
    expect(wrong).toEqual([]);
    const nans = [...allCodes].filter((code) => Number.isNaN(values[code]));
    expect(nans).toEqual([...allCodes].filter((code) => Number.isNaN(decodeNaively(code, format))));
  });

  test('every code survives decoding and encoding; a NaN becomes a quiet NaN of its sign', () => {
    const back = codesOf(encodeFloat32(toFloat32(bytesOf(allCodes), format.dtype), format.dtype));
    const quiet = 2 ** (format.fractionBits - 1);
    const expected = [...allCodes].map((code) =>
      Number.isNaN(decodeNaively(code, format)) ? code | quiet : code,
    );
    expect(back).toEqual(expected);
  });

  test('encodes to the nearest code, ties to the even one', () => {
    const value = fc.oneof(
      fc.float({ noNaN: true }),
      fc.float({ noNaN: true, min: -(2 ** -12), max: 2 ** -12 }), // F16's subnormals
      // Exactly between two codes, and one float32 step to either side.
      fc.tuple(fc.integer({ min: 0, max: 0xffff }), fc.constantFrom(-1, 0, 1)).map(([code, step]) => {
        const middle = decodeNaively(code, format) / 2 + decodeNaively(code ^ 1, format) / 2;
        const bits = new Uint32Array(Float32Array.of(middle).buffer);
        bits[0] += step;
        return new Float32Array(bits.buffer)[0];
      }),
    );
    fc.assert(
      fc.property(value, (x) => {
        fc.pre(!Number.isNaN(x));
        expect(codesOf(encodeFloat32(Float32Array.of(x), format.dtype))).toEqual([encodeNaively(x, format)]);
      }),
      { numRuns: 3000 },
    );
  });
});

test('F16 overflows halfway past its largest value, BF16 past float32’s last step', () => {
  const f16 = codesOf(encodeFloat32(Float32Array.of(65504, 65519.996, 65520, -1e30), 'F16'));
  expect(f16).toEqual([0x7bff, 0x7bff, 0x7c00, 0xfc00]);
  const largest = 2 ** 128 - 2 ** 104;
  expect(codesOf(encodeFloat32(Float32Array.of(largest, -largest), 'BF16'))).toEqual([0x7f80, 0xff80]);
});

test('F64 narrows with one rounding, and float32 widens to it exactly', () => {
  const f64 = Float64Array.of(0.1, 1e300, -0, 1 + 2 ** -24 + 2 ** -50);
  expect([...toFloat32(bytesOf(f64), 'F64')]).toEqual([Math.fround(0.1), Infinity, -0, 1 + 2 ** -23]);
  const f32 = Float32Array.of(0.1, -3, Infinity);
  expect(new Float64Array(encodeFloat32(f32, 'F64').buffer)).toEqual(Float64Array.from(f32));
});

test('F32 is encoded from a part of a buffer, into bytes of its own', () => {
  const part = Float32Array.of(9, 1, 2, 9).subarray(1, 3);
  const bytes = encodeFloat32(part, 'F32');
  expect(bytes).toEqual(bytesOf(Float32Array.of(1, 2)));
  expect(bytes.buffer).not.toBe(part.buffer);
});

const integerSamples: [Dtype, ArrayBufferView, number[]][] = [
  ['I64', BigInt64Array.of(-(2n ** 31n), 2n ** 31n - 1n, -1n), [-(2 ** 31), 2 ** 31 - 1, -1]],
  ['U64', BigUint64Array.of(0n, 2n ** 31n - 1n), [0, 2 ** 31 - 1]],
  ['I32', Int32Array.of(-(2 ** 31), 2 ** 31 - 1), [-(2 ** 31), 2 ** 31 - 1]],
  ['U32', Uint32Array.of(0, 2 ** 31 - 1), [0, 2 ** 31 - 1]],
  ['I16', Int16Array.of(-32768, 32767), [-32768, 32767]],
  ['U16', Uint16Array.of(0, 65535), [0, 65535]],
  ['I8', Int8Array.of(-128, 127), [-128, 127]],
  ['U8', Uint8Array.of(0, 255), [0, 255]],
  ['BOOL', Uint8Array.of(0, 1, 2), [0, 1, 1]],
];

test.each(integerSamples)('%s becomes int32 and float32', (dtype, array, values) => {
  expect([...toInt32(bytesOf(array), dtype, 'x')]).toEqual(values);
  expect([...toFloat32(bytesOf(array), dtype)]).toEqual(values.map(Math.fround));
});

test.each<[Dtype, ArrayBufferView, string]>([
  ['I64', BigInt64Array.of(0n, 2n ** 31n), '2147483648'],
  ['I64', BigInt64Array.of(0n, -(2n ** 31n) - 1n), '-2147483649'],
  ['I64', BigInt64Array.of(0n, 2n ** 32n), '4294967296'],
  ['U64', BigUint64Array.of(0n, 2n ** 64n - 1n), '18446744073709551615'],
  ['U32', Uint32Array.of(0, 2 ** 31), '2147483648'],
])('%s refuses a value that int32 cannot hold', (dtype, array, value) => {
  expect(() => toInt32(bytesOf(array), dtype, 'tensor "ids"')).toThrow(
    new UserError(`tensor "ids" holds ${value} at index 1, which does not fit in 32 bits`),
  );
});

test.each<Dtype>(['F64', 'F32', 'F16', 'BF16'])('%s is refused as integers', (dtype) => {
  expect(() => toInt32(new Uint8Array(8), dtype, 'tensor "x"')).toThrow(
    new UserError(`tensor "x" is ${dtype}, but integers are needed`),
  );
});

test('bytes that begin anywhere decode as those that begin aligned', () => {
  const dtypes = Object.keys(dtypeBytes) as Dtype[];
  const bytes = fc.uint8Array({ minLength: 64, maxLength: 64 });
  fc.assert(
    fc.property(fc.constantFrom(...dtypes), fc.integer({ min: 1, max: 7 }), bytes, (dtype, shift, raw) => {
      const shifted = new Uint8Array(64 + shift).subarray(shift);
      shifted.set(raw);
      expect(bytesOf(toFloat32(shifted, dtype))).toEqual(bytesOf(toFloat32(raw.slice(), dtype)));
    }),
  );
});

test('aligned F32 bytes are viewed, not copied', () => {
  const raw = new Uint8Array(16);
  expect(toFloat32(raw, 'F32').buffer).toBe(raw.buffer);
});

test('half a value is a bug, not a rounding down', () => {
  expect(() => toFloat32(new Uint8Array(3), 'F16')).toThrow(RangeError);
});
