/**
 * W, what a method chooses: so many rows over the tokens that there are, each row a new token. Pruning is a W whose rows
 * hold a single 1, merging one whose rows hold several weights:
 *
 *     F' = W·F            [U, D] = [U, P]·[P, D]
 *
 * It lives on the host and holds only what is not 0. A second choice over what the first left is their product W₂·W₁.
 */
import * as tf from '@tensorflow/tfjs-core';
import { shape } from './axes.ts';
import { gatherTokens } from './gather.ts';
import { mixTokens } from './similarity.ts';

/**
 * How one new token is made: token → weight. The first one named stands for all: where they stood it stands. A row of
 * nothing is a token of no patch: [CLS].
 */
export type Row = ReadonlyMap<number, number>;

/** W of each of B pictures, each with U rows. */
export interface TokenMatrix {
  rows: readonly (readonly Row[])[]; // [B][U]
  columns: number; // P
  shape: [B: number, U: number, P: number];
}

/** A token as it is. */
export const keepToken = (token: number): Row => new Map([[token, 1]]);

/** The mean of some tokens. */
export const meanOf = (tokens: readonly number[]): Row =>
  new Map(tokens.map((token) => [token, 1 / tokens.length]));

/** The token that stands for a row. */
export const firstOf = (row: Row): number => row.keys().next().value!;

/**
 * W of its rows.
 * @param rows for each of B pictures U rows over P tokens
 * @throws Error unless every picture has equally many
 */
export function matrixOf(rows: readonly (readonly Row[])[], columns: number): TokenMatrix {
  const U = rows[0].length;
  if (rows.some((row) => row.length !== U)) {
    throw new Error(
      `W has ${rows.map((row) => row.length).join(', ')} rows: every picture needs equally many`,
    );
  }
  return { rows, columns, shape: [rows.length, U, columns] };
}

/** The W that picks tokens. @param kept for each picture U places, in any order: their own order is restored */
export const picking = (kept: readonly (readonly number[])[], columns: number): TokenMatrix =>
  matrixOf(
    kept.map((places) => [...places].sort((a, b) => a - b).map(keepToken)),
    columns,
  );

/** The W that picks the same tokens of every one of B pictures. */
export const pickingSame = (places: readonly number[], B: number, columns: number): TokenMatrix =>
  picking(
    Array.from({ length: B }, () => places),
    columns,
  );

/** The W that changes nothing. */
export const identity = (B: number, columns: number): TokenMatrix =>
  pickingSame([...Array(columns).keys()], B, columns);

const isToken = (row: Row): boolean => row.size === 1 && row.values().next().value === 1;

/** The tokens that W picks, [B][U], where it does nothing else. */
export function pickedBy({ rows }: TokenMatrix): number[][] | undefined {
  if (!rows.every((picture) => picture.every(isToken))) return undefined;
  return rows.map((picture) => picture.map(firstOf));
}

/**
 * W·X, each picture by itself: a gather where W picks, a product elsewhere.
 * @param tokens X [B, P, D]
 * @returns [B, U, D]
 */
export function applyMatrix(W: TokenMatrix, tokens: tf.Tensor3D): tf.Tensor3D {
  const [B, U, P] = W.shape;
  shape({ tokens }, 'B P D', { B, P });
  const picked = pickedBy(W);
  if (U === 0) return tf.zeros([B, 0, tokens.shape[2]]);
  return tf.tidy(() =>
    picked
      ? gatherTokens(tokens, tf.tensor2d(picked.flat(), [B, U], 'int32'))
      : mixTokens(denseOf(W), tokens),
  );
}

/** W as a tensor, [B, U, P]. The caller disposes it. */
export function denseOf({ rows, shape: [B, U, P] }: TokenMatrix): tf.Tensor3D {
  const values = new Float32Array(B * U * P);
  for (const [b, picture] of rows.entries()) {
    for (const [u, row] of picture.entries()) {
      for (const [token, weight] of row) values[(b * U + u) * P + token] = weight;
    }
  }
  return tf.tensor3d(values, [B, U, P]);
}

/** W₂·W₁: what `after` makes of what `before` made. */
export function multiply(after: TokenMatrix, before: TokenMatrix): TokenMatrix {
  const rows = after.rows.map((picture, b) =>
    picture.map((row) => {
      const product = new Map<number, number>();
      for (const [token, weight] of row) {
        for (const [patch, part] of before.rows[b][token]) {
          product.set(patch, (product.get(patch) ?? 0) + weight * part);
        }
      }
      return product;
    }),
  );
  return matrixOf(rows, before.columns);
}

/** W with n tokens of no patch before its own: [CLS], which goes along. */
export const withCls = ({ rows, columns }: TokenMatrix, n: number): TokenMatrix =>
  matrixOf(
    rows.map((picture) => [...Array.from({ length: n }, (): Row => new Map()), ...picture]),
    columns,
  );

/** What became of a picture's patches. */
export interface Fates {
  /** Those that are tokens by themselves, ascending. */
  kept: number[];
  /** How many tokens were made of several, or of none. */
  made: number;
  /** For each patch the token that it weighs most in, by its place among the tokens; the first of equals, −1 for none. */
  groups: number[];
}

/** What became of each of B pictures' patches. */
export function fatesOf({ rows, columns }: TokenMatrix): Fates[] {
  return rows.map((picture) => {
    const kept = picture.filter(isToken).map(firstOf);
    const groups = Array.from({ length: columns }, () => -1);
    const most = new Float64Array(columns);
    for (const [u, row] of picture.entries()) {
      for (const [patch, weight] of row) {
        if (weight > most[patch]) [most[patch], groups[patch]] = [weight, u];
      }
    }
    return { kept: kept.sort((p, q) => p - q), made: picture.length - kept.length, groups };
  });
}
