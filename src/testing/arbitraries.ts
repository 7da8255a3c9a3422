/**
 * What fast-check draws for a test of a method: attention as a vision tower gives it, features, keys, budgets, pictures;
 * plain nested arrays.
 */
import fc from 'fast-check';

const list = <T>(of: fc.Arbitrary<T>, length: number): fc.Arbitrary<T[]> =>
  fc.array(of, { minLength: length, maxLength: length });

/**
 * A row of attention as softmax leaves it: positive, and its sum is 1. Logits differ by up to 8, as trained ones do.
 * @param N how many keys it is over
 */
export const softmaxRow = (N: number): fc.Arbitrary<number[]> =>
  list(fc.double({ min: -4, max: 4, noNaN: true }), N).map((logits) => {
    const powers = logits.map(Math.exp);
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / sum);
  });

/**
 * What [CLS] gives to P patches in one head: five levels, multiples of a power of two; what is left to 1 it gives to itself.
 * Sums and means over 1, 2 or 4 heads, and over layers, are exact in float32, in any order: a claim about a selection
 * needs no tolerance, and equal scores, the hard case, are common.
 */
export function clsRow(P: number): fc.Arbitrary<number[]> {
  const unit = 2 ** -Math.ceil(Math.log2(4 * (P + 1)));
  return list(
    fc.nat(4).map((level) => level * unit),
    P,
  );
}

/** The axes of attention over K layers. */
export interface AttentionShape {
  K: number;
  B: number;
  H: number;
  P: number;
}

/** [CLS] attention of K layers, [K][B][H][P], of {@link clsRow}s. */
export const clsAttention = ({ K, B, H, P }: AttentionShape): fc.Arbitrary<number[][][][]> =>
  list(list(list(clsRow(P), H), B), K);

/** Full attention of one layer, [B][H][N][N], of {@link softmaxRow}s. */
export const attention = ({ B, H, N }: { B: number; H: number; N: number }): fc.Arbitrary<number[][][][]> =>
  list(list(list(softmaxRow(N), N), H), B);

const exact = fc.integer({ min: -1024, max: 1024 }).map((n) => n / 1024);

/** Features of P patches, [P][D], multiples of 1/1024 from −1 to 1: exact in float32. */
export const features = (P: number, D: number): fc.Arbitrary<number[][]> => list(list(exact, D), P);

/** Keys of H heads, [H][N][C], likewise. */
export const keys = (H: number, N: number, C: number): fc.Arbitrary<number[][][]> => list(features(N, C), H);

/** U of P patches: 1 to P, both ends often. */
export const budgets = (P: number): fc.Arbitrary<number> =>
  fc.oneof(
    { weight: 1, arbitrary: fc.constantFrom(1, P) },
    { weight: 4, arbitrary: fc.integer({ min: 1, max: P }) },
  );

/** Preprocessed pixels of a picture S a side, [S][S][3], of deviation about 1. */
export const pictures = (S: number): fc.Arbitrary<number[][][]> =>
  list(list(list(fc.double({ min: -2, max: 2, noNaN: true }).map(Math.fround), 3), S), S);

/** Attention over K layers with a budget: what a selection is made from. */
export interface AttentionCase extends AttentionShape {
  attention: number[][][][]; // [K][B][H][P]
  U: number;
}

/** Up to 4 layers, 3 pictures, 4 heads and 12 patches. */
export const attentionCases: fc.Arbitrary<AttentionCase> = fc
  .record({
    K: fc.integer({ min: 1, max: 4 }),
    B: fc.integer({ min: 1, max: 3 }),
    H: fc.constantFrom(1, 2, 4),
    P: fc.integer({ min: 1, max: 12 }),
  })
  .chain((shape) =>
    fc.record({
      ...{
        K: fc.constant(shape.K),
        B: fc.constant(shape.B),
        H: fc.constant(shape.H),
        P: fc.constant(shape.P),
      },
      attention: clsAttention(shape),
      U: budgets(shape.P),
    }),
  );
