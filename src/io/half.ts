/**
 * The two 16-bit floats of checkpoints, as bit patterns:
 *
 *     F32    sign 1 | exponent 8 (bias 127) | fraction 23
 *     BF16   sign 1 | exponent 8 (bias 127) | fraction 7     the upper half of an F32
 *     F16    sign 1 | exponent 5 (bias 15)  | fraction 10
 *
 * Both widen to float32 exactly. Narrowing rounds to the nearest, ties to the even code, as IEEE 754 and PyTorch do.
 */

let f16Table: Uint32Array | undefined;

/** The float32 bits of each of the 65,536 F16 codes, made on first use. */
function tableOfF16(): Uint32Array {
  if (f16Table) return f16Table;
  const bits = new Uint32Array(65_536);
  const floats = new Float32Array(bits.buffer);
  for (let code = 0; code < 65_536; code++) {
    const sign = code & 0x8000 ? 0x8000_0000 : 0;
    const exponent = (code >> 10) & 31;
    const fraction = code & 0x3ff;
    if (exponent === 0) {
      floats[code] = (sign ? -1 : 1) * fraction * 2 ** -24; // zero and subnormals
    } else {
      const widened = exponent === 31 ? 255 : exponent - 15 + 127; // 31 and 255: infinity and NaN
      bits[code] = sign + widened * 2 ** 23 + fraction * 2 ** 13;
    }
  }
  return (f16Table = bits);
}

/** F16 codes to float32: one table look-up each. NaN payloads survive, since only bits are copied. */
export function decodeF16(codes: Uint16Array): Float32Array {
  const table = tableOfF16();
  const bits = new Uint32Array(codes.length);
  for (let i = 0; i < codes.length; i++) bits[i] = table[codes[i]];
  return new Float32Array(bits.buffer);
}

/** BF16 codes to float32: one shift each. */
export function decodeBf16(codes: Uint16Array): Float32Array {
  const bits = new Uint32Array(codes.length);
  for (let i = 0; i < codes.length; i++) bits[i] = codes[i] << 16;
  return new Float32Array(bits.buffer);
}

/** Adds half of the last kept place, less one if the kept part is even: what then carries is rounded up. */
function roundToEven(bits: number, droppedBits: number): number {
  const isOdd = (bits >>> droppedBits) & 1;
  return (bits + 2 ** (droppedBits - 1) - 1 + isOdd) >>> droppedBits;
}

/** One float32, as bits, to BF16. Too large a value becomes infinity; a NaN stays a (quiet) NaN of its sign. */
function bf16Of(bits: number): number {
  const isNan = (bits & 0x7fff_ffff) > 0x7f80_0000;
  return isNan ? (bits >>> 16) | 0x40 : roundToEven(bits, 16);
}

/** One float32, as bits, to F16. From 65520 on, halfway from the largest (65504) to 65536, it is infinity. */
function f16Of(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fff_ffff;
  if (magnitude > 0x7f80_0000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x1ff); // NaN
  if (magnitude >= 0x4780_0000) return sign | 0x7c00; // 65536 and up; what rounds up to it carries there below
  if (magnitude >= 0x3880_0000) return sign | roundToEven(magnitude - ((127 - 15) << 23), 13);
  // Below 2^-14 codes count in steps of 2^-24: shift the fraction (its leading 1 written out) to that place.
  const dropped = 126 - (magnitude >>> 23);
  const fraction = 0x80_0000 | (magnitude & 0x7f_ffff);
  return dropped > 24 ? sign : sign | roundToEven(fraction, dropped);
}

/** float32 to BF16 codes. */
export function encodeBf16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const codes = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) codes[i] = bf16Of(bits[i]);
  return codes;
}

/** float32 to F16 codes. */
export function encodeF16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const codes = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) codes[i] = f16Of(bits[i]);
  return codes;
}
