import { drawNormal, type Random } from '../random.ts';
import type { Leaf, Loaded } from '../io/weight-table.ts';

/**
 * How a tensor's values begin, by its published name; the first rule that fits counts. `std` is the standard
 * deviation of normal draws; `values` are given, for a tensor of that shape.
 */
export type InitialRules = [pattern: RegExp, begin: Begin][];
type Begin = { constant: number } | { std: number } | { values: (shape: number[]) => Float32Array };

/**
 * Draws a model's first weights. What no rule names is a matrix [out, in, …] and gets PyTorch's deviation for a linear
 * layer, 1/√(3·in).
 * @param tree the checkpoint's table of the model
 */
export function initialise<T extends object>(tree: T, random: Random, rules: InitialRules): Loaded<T> {
  const walk = (node: unknown): unknown => {
    if (typeof node !== 'object' || node === null) return node;
    if (Array.isArray(node)) return node.map(walk);
    if ('leaf' in node) return begin(node as Leaf, random, rules);
    return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, walk(child)]));
  };
  return walk(tree) as Loaded<T>;
}

function begin(leaf: Leaf, random: Random, rules: InitialRules) {
  const { name, shape } = leaf;
  const size = shape.reduce((product, n) => product * n, 1);
  const rule = rules.find(([pattern]) => pattern.test(name))?.[1] ?? {
    std: 1 / Math.sqrt((3 * size) / shape[0]),
  };
  if ('constant' in rule) return leaf.build(new Float32Array(size).fill(rule.constant));
  if ('values' in rule) return leaf.build(rule.values(shape));
  return leaf.build(Float32Array.from({ length: size }, () => rule.std * drawNormal(random)));
}

/**
 * Position embeddings that begin with the grid in them: sines and cosines of row and column, of standard deviation
 * 0.5. From random vectors, a tower must first learn which patches are neighbours.
 * @returns [1 + g², D] for a grid of g × g patches, [CLS] first with zeros; wavelengths from 4g patches down to 2
 */
export function gridPositions([N, D]: number[]): Float32Array {
  const g = Math.sqrt(N - 1);
  const waves = D / 4; // for each of sine and cosine, of row and column
  const values = new Float32Array(N * D);
  for (let patch = 0; patch < g * g; patch++) {
    const place = [Math.floor(patch / g), patch % g];
    for (let i = 0; i < D; i++) {
      const wave = Math.floor(i / 4);
      const length = 4 * g * (2 * g) ** (-wave / Math.max(1, waves - 1));
      const angle = (2 * Math.PI * place[i % 2]) / length;
      values[(1 + patch) * D + i] = Math.SQRT1_2 * (i % 4 < 2 ? Math.sin(angle) : Math.cos(angle));
    }
  }
  return values;
}

/**
 * Queries and keys that begin as `scale` times the identity: a patch attends to itself and to what is like it, which are
 * its neighbours while little but positions tells patches apart. Trained vision transformers look so (Trockman & Kolter,
 * 2305.09828). From random ones every patch attends to all of them alike and carries what the whole picture shows; a
 * decoder then finds that anywhere, and does not learn to look where a question points.
 * @returns for a matrix [n, n]
 */
export const scaledIdentity =
  (scale: number) =>
  ([n, inner]: number[]): Float32Array =>
    Float32Array.from({ length: n * inner }, (_, i) => (Math.floor(i / inner) === i % inner ? scale : 0));
