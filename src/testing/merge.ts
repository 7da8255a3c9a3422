/** Whether a merge is right: W [U, P], by which P patches become U tokens, F' = W·F. */
import { violations, type Violation } from './violation.ts';

/** A row of W: P weights, or only those that are not 0, by patch. */
export type WeightRow = readonly number[] | ReadonlyMap<number, number> | Readonly<Record<string, number>>;

/** A merge of one picture's patches. */
export interface Merge {
  /** P. */
  patches: number;
  /** W, a row of each token. */
  weights: readonly WeightRow[];
  /** Whether each token is a mean of patches: its weights sum to 1. */
  means?: boolean;
  /** Whether no patch is part of two tokens. */
  partition?: boolean;
  /** F [P][D] and F' [U][D], to be compared with W·F. */
  features?: readonly (readonly number[])[];
  tokens?: readonly (readonly number[])[];
  /** How far F' may be off, relative to the largest value of it; float32's rounding where it is left out. */
  tolerance?: number;
}

/** Each property of a merge, and why it matters. */
export const mergeWhys = {
  'range': 'a weight on a patch that there is not takes up another picture’s, or nothing',
  'finite': 'one weight that is NaN makes its whole token NaN, and through attention every answer',
  'non-negative': 'a token takes patches up: a negative share subtracts what was seen',
  'not-empty': 'a row of nothing is a token of zeros, which no vision tower makes and no decoder has seen',
  'sum': 'a mean of patches is as large as they are; another sum scales the token, and attention to it',
  'partition': 'a patch that is part of two tokens is counted twice',
  'product': 'F′ = W·F is all that a merge may do: what else was done to the tokens is no merge',
} as const;

const float32 = 1e-5; // some tens of products of order 1

/** The weights of a row that are not 0, by patch. */
export function entriesOf(row: WeightRow): [patch: number, weight: number][] {
  if (row instanceof Map) return [...(row as ReadonlyMap<number, number>)];
  const entries = Object.entries(row).map(([patch, weight]): [number, number] => [
    Number(patch),
    weight as number,
  ]);
  return Array.isArray(row) ? entries.filter(([, weight]) => weight !== 0) : entries;
}

/** What is wrong with a merge, each kind once. */
export function checkMerge({ patches: P, weights, features, tokens, ...claims }: Merge): Violation[] {
  const { found, add } = violations(mergeWhys);
  const rows = weights.map(entriesOf);
  const first = (tell: (u: number, p: number, weight: number) => string | false): string | undefined => {
    for (const [u, row] of rows.entries()) {
      for (const [p, weight] of row) {
        const message = tell(u, p, weight);
        if (message !== false) return message;
      }
    }
    return undefined;
  };
  const isPatch = (p: number) => Number.isInteger(p) && p >= 0 && p < P;
  add(
    'range',
    first((u, p) => !isPatch(p) && `row ${u} names patch ${p}, but they are 0 to ${P - 1}`),
  );
  add(
    'finite',
    first((u, p, weight) => !Number.isFinite(weight) && `row ${u} gives patch ${p} the weight ${weight}`),
  );
  add(
    'non-negative',
    first((u, p, weight) => weight < 0 && `row ${u} gives patch ${p} the weight ${weight}`),
  );
  const empty = rows.findIndex((row) => row.every(([, weight]) => weight === 0));
  add('not-empty', empty < 0 ? undefined : `row ${empty} has no patch`);
  if (claims.means) add('sum', faultOfSums(rows));
  if (claims.partition) {
    const owner = new Map<number, number>();
    const twice = first((u, p) => {
      const other = owner.get(p);
      owner.set(p, u);
      return other !== undefined && `patch ${p} is part of rows ${other} and ${u}`;
    });
    add('partition', twice);
  }
  if (features && tokens) add('product', faultOfProduct(rows, features, tokens, claims.tolerance ?? float32));
  return found;
}

function faultOfSums(rows: readonly [number, number][][]): string | undefined {
  const sums = rows.map((row) => row.reduce((sum, [, weight]) => sum + weight, 0));
  const off = sums.findIndex((sum) => Math.abs(sum - 1) > 1e-4);
  return off < 0 ? undefined : `row ${off} sums to ${sums[off]}`;
}

function faultOfProduct(
  rows: readonly [number, number][][],
  features: readonly (readonly number[])[],
  tokens: readonly (readonly number[])[],
  tolerance: number,
): string | undefined {
  if (tokens.length !== rows.length)
    return `there are ${tokens.length} tokens, but W has ${rows.length} rows`;
  const scale = tokens
    .flat()
    .reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 1);
  for (const [u, row] of rows.entries()) {
    for (const [d, token] of tokens[u].entries()) {
      const product = row.reduce((sum, [p, weight]) => sum + weight * (features[p]?.[d] ?? NaN), 0);
      if (!(Math.abs(token - product) <= tolerance * scale)) {
        return `token ${u} is ${token} in channel ${d}, W·F is ${product}`;
      }
    }
  }
  return undefined;
}
