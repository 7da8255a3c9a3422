/** What native TensorFlow makes of a file's bytes is bit for bit what JavaScript makes of them. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { dtypeBytes, toFloat32 } from '../../src/io/dtype.ts';
import { startBackend } from '../../src/backend/start.ts';
import { canWiden, widen, type WidenedDtype } from '../../src/tensor/widen.ts';
import { backendsUnderTest } from '../support/backends.ts';

const dtypes: WidenedDtype[] = ['F32', 'BF16', 'F16'];

const bitsOf = (values: Float32Array) => [
  ...new Uint32Array(values.buffer, values.byteOffset, values.length),
];
const signaling = (bits: number) => (bits & 0x7fff_ffff) > 0x7f80_0000 && (bits & 0x40_0000) === 0;

/** The bits as {@link toFloat32} and two loops make them; F16's NaNs quiet, as the processor's own conversion has them. */
function widenSlowly(bytes: Uint8Array, dtype: WidenedDtype, [rows, columns]: number[], transposed: boolean) {
  const exact = bitsOf(toFloat32(bytes, dtype));
  const bits = dtype === 'F16' ? exact.map((x) => (signaling(x) ? (x | 0x40_0000) >>> 0 : x)) : exact;
  if (!transposed) return bits;
  return Array.from({ length: rows * columns }, (_, i) => bits[(i % rows) * columns + Math.floor(i / rows)]);
}

/** Tensors that TensorFlow itself holds, ours or not. */
const handles = () =>
  (tf.backend() as unknown as { binding: { getNumOfTensors(): number } }).binding.getNumOfTensors();

test('JavaScript backends widen nothing', async () => {
  await startBackend('cpu');
  expect(dtypes.filter(canWiden)).toEqual([]);
});

describe.runIf(backendsUnderTest.includes('tensorflow'))('on tensorflow', () => {
  beforeAll(async () => {
    await startBackend('tensorflow');
  });

  test('F32, BF16 and F16 are widened, nothing else', () => {
    expect([...Object.keys(dtypeBytes), undefined].filter(canWiden)).toEqual(['F32', 'F16', 'BF16']);
  });

  test('rows of any bits come out exact, transposed or not, and the bytes are free for reuse', () => {
    const side = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(16, 36, 64));
    const matrix = fc
      .record({ rows: side, columns: side, dtype: fc.constantFrom(...dtypes), transposed: fc.boolean() })
      .chain((choice) => {
        const length = choice.rows * choice.columns * dtypeBytes[choice.dtype];
        return fc.record({
          ...Object.fromEntries(Object.entries(choice).map(([key, value]) => [key, fc.constant(value)])),
          bytes: fc.uint8Array({ minLength: length, maxLength: length }),
        }) as unknown as fc.Arbitrary<typeof choice & { bytes: Uint8Array }>;
      });
    fc.assert(
      fc.property(matrix, ({ rows, columns, dtype, transposed, bytes }) => {
        const raw = bytes.slice();
        const x = widen(raw, dtype, [rows, columns], transposed);
        raw.fill(0xff);
        expect(x.shape).toEqual(transposed ? [columns, rows] : [rows, columns]);
        expect(x.dtype).toBe('float32');
        const bits = bitsOf(x.dataSync<'float32'>());
        x.dispose();
        expect(bits).toEqual(widenSlowly(bytes, dtype, [rows, columns], transposed));
      }),
    );
  });

  test.each(['BF16', 'F16'] as const)('all 65,536 codes of %s', (dtype) => {
    const bytes = new Uint8Array(Uint16Array.from({ length: 65_536 }, (_, code) => code).buffer);
    for (const transposed of [false, true]) {
      const x = widen(bytes, dtype, [256, 256], transposed);
      const bits = bitsOf(x.dataSync<'float32'>());
      x.dispose();
      expect(bits).toEqual(widenSlowly(bytes, dtype, [256, 256], transposed));
    }
  });

  test.each([
    [[4, 8], false],
    [[4, 8], true],
    [[8, 3], true],
  ])('of %j, transposed: %s, only the result is left, and after a failure nothing', (shape, transposed) => {
    for (const dtype of dtypes) {
      const bytes = new Uint8Array(shape[0] * shape[1] * dtypeBytes[dtype]);
      const [tensors, held] = [tf.memory().numTensors, handles()];
      const x = widen(bytes, dtype, shape, transposed);
      expect([tf.memory().numTensors, handles()], dtype).toEqual([tensors + 1, held + 1]);
      x.dispose();
      expect(() => widen(bytes.subarray(1), dtype, shape, transposed)).toThrow(/Shape does not match/);
      expect([tf.memory().numTensors, handles()], dtype).toEqual([tensors, held]);
    }
  });
});
