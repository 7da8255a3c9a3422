/**
 * Random weights of the right scale, the same for us and for the peers, without a file of them: one pool of normal
 * numbers, whose prime length keeps rows from repeating in step, and per tensor where to begin in it, a mean and a
 * deviation. A matrix has deviation 1/√fan-in, a gain lies about 1, a bias about 0 but is never 0.
 */
import { writeFile } from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs-core';
import { createRandom } from '../src/random.ts';
import { decodeBf16, encodeBf16 } from '../src/io/half.ts';
import { loadTree } from '../src/io/load-tree.ts';
import { leavesOf, type Loaded } from '../src/io/weight-table.ts';
import { backendTraits } from '../src/tensor/traits.ts';

/** value[i] = mean + deviation · pool[(offset + i) mod length] */
export interface Recipe {
  name: string;
  shape: number[];
  offset: number;
  mean: number;
  deviation: number;
}

export const poolLength = 1_048_583;
let pool: Float32Array | undefined;

/** Normal numbers by Box and Muller, seeded. */
export function normalPool(): Float32Array {
  if (pool) return pool;
  const random = createRandom(1);
  return (pool = Float32Array.from(
    { length: poolLength },
    () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  ));
}

/** For the peers: raw little-endian float32. */
export async function writePool(file: string): Promise<void> {
  await writeFile(file, new Uint8Array(normalPool().buffer));
}

export function weightRecipe(name: string, shape: number[]): Recipe {
  const offset = hash(name) % poolLength;
  if (shape.length > 1) {
    const fanIn = shape.slice(1).reduce((product, n) => product * n, 1);
    return { name, shape, offset, mean: 0, deviation: 1 / Math.sqrt(fanIn) };
  }
  const isGain = name.endsWith('.weight');
  return { name, shape, offset, mean: isGain ? 1 : 0, deviation: isGain ? 0.1 : 0.02 };
}

/** An input: normal numbers of deviation 1. */
export function inputRecipe(name: string, shape: number[]): Recipe {
  return { name, shape, offset: hash(name) % poolLength, mean: 0, deviation: 1 };
}

export function recipesOf(tree: object): Recipe[] {
  return leavesOf(tree).map(({ name, shape }) => weightRecipe(name, shape));
}

export function fill({ shape, offset, mean, deviation }: Recipe): Float32Array {
  const source = normalPool();
  const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
  for (let i = 0, at = offset; i < values.length; i++, at = at + 1 === poolLength ? 0 : at + 1) {
    values[i] = mean + deviation * source[at];
  }
  return values;
}

export function inputTensor<T extends tf.Tensor>(recipe: Recipe): T {
  return tf.tensor(fill(recipe), recipe.shape) as T;
}

/**
 * A tree's weights as a checkpoint's would be loaded, but from the pool.
 * @param options the type of the file that they would come from, and whether 16-bit matrices stay as they are
 * @throws UserError when they do not fit on the backend
 */
export async function randomWeights<T extends object>(
  tree: T,
  what: string,
  { from = 'F32', stored = false }: { from?: 'F32' | 'BF16'; stored?: boolean } = {},
): Promise<Loaded<T>> {
  const recipes = new Map(recipesOf(tree).map((recipe) => [recipe.name, recipe]));
  const bytes = ({ shape }: { shape: number[] }) => 4 * shape.reduce((product, n) => product * n, 1);
  const leaves = leavesOf(tree);
  const others = leaves.filter((leaf) => !leaf.multiplies).reduce((sum, leaf) => sum + bytes(leaf), 0);
  const matrices = leaves.filter((leaf) => leaf.multiplies).map(bytes);
  const rounded = (recipe: Recipe) => (from === 'BF16' ? decodeBf16(encodeBf16(fill(recipe))) : fill(recipe));
  backendTraits().requireMemory({ matrices, others }, what);
  return loadTree(
    {
      dir: what,
      tensors: new Map(leaves.map(({ name, shape }) => [name, { shape, dtype: from }])),
      readFloat32: (name) => Promise.resolve(rounded(recipes.get(name)!)),
      ...(stored && {
        readRaw: (name: string, into: Uint8Array) => {
          const codes = encodeBf16(fill(recipes.get(name)!));
          into.set(new Uint8Array(codes.buffer));
          return Promise.resolve(into.subarray(0, codes.byteLength));
        },
      }),
    },
    tree,
    undefined,
    { stored },
  );
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let state = 0x811c9dc5;
  for (const character of text) state = Math.imul(state ^ character.codePointAt(0)!, 0x01000193) >>> 0;
  return state;
}

/** The first values of a tensor, or of another part of it, read from the backend; the tensor is disposed. */
export async function digestOf(tensor: tf.Tensor, count = 8): Promise<number[]> {
  const head = tf.tidy(() => tf.slice(tf.reshape(tensor, [-1]), tensor.size - count, count)); // the last token's end
  const values = Array.from(await head.data());
  tf.dispose([head, tensor]);
  return values;
}
