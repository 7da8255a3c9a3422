import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { blockColumns, toLinearWeight, type Linear, type Matrix } from '../tensor/linear.ts';
import type { LayerNorm } from '../tensor/norm.ts';
import type { TensorInfo } from './safetensors.ts';

/**
 * A checkpoint's names as data: a tree with the shape of the weights record, whose leaves say which tensor of the
 * file belongs there. A room lists its names once; this file loads any such tree.
 */
export interface Leaf<T = tf.Tensor | Matrix> {
  leaf: true;
  /** The tensor's name in the file. */
  name: string;
  /** Its shape in the file. */
  shape: number[];
  /** Whether a matrix product reads it, and so keeps a packed copy on wasm. */
  multiplies: boolean;
  /** The file's values → the tensor that the layers use. */
  build(values: Float32Array): T;
}

/** The record of tensors that a tree of leaves loads into. */
export type Loaded<Tree> =
  Tree extends Leaf<infer T> ? T : Tree extends object ? { [Key in keyof Tree]: Loaded<Tree[Key]> } : Tree;

/** A vector [n], used as it is. */
export function vector(name: string, n: number): Leaf<tf.Tensor1D> {
  return { leaf: true, name, shape: [n], multiplies: false, build: (values) => tf.tensor1d(values) };
}

/** A matrix [rows, columns], used as it is: an embedding table. */
export function table(name: string, rows: number, columns: number): Leaf<tf.Tensor2D> {
  const shape: [number, number] = [rows, columns];
  return { leaf: true, name, shape, multiplies: false, build: (values) => tf.tensor2d(values, shape) };
}

/** A matrix that PyTorch stores [out, in] and {@link Linear} wants [in, out]. @param blocked in blocks, where they help */
export function matrix(name: string, inner: number, out: number, blocked = true): Leaf<Matrix> {
  const shape = [out, inner];
  const build = (values: Float32Array): Matrix => {
    const weight = toLinearWeight(values, shape);
    return blocked ? blockColumns(weight) : weight;
  };
  return { leaf: true, name, shape, multiplies: true, build };
}

/** `NAME.weight` [out, in] and, unless `bias` is false, `NAME.bias` [out]. */
export function dense(name: string, inner: number, out: number, bias = true): Tree<Linear> {
  const weight = matrix(`${name}.weight`, inner, out);
  return bias ? { weight, bias: vector(`${name}.bias`, out) } : { weight };
}

/** `NAME.weight` and `NAME.bias`, both [n]. */
export function norm(name: string, n: number): Tree<LayerNorm> {
  return { weight: vector(`${name}.weight`, n), bias: vector(`${name}.bias`, n) };
}

/** The tree of leaves that loads into a weights record. */
export type Tree<Weights> = [Weights] extends [tf.Tensor | Matrix]
  ? Leaf<Weights>
  : { [Key in keyof Weights]: Tree<Exclude<Weights[Key], undefined>> };

/** What a tree is checked against and read from. */
export interface TensorSource {
  dir: string;
  tensors: Map<string, Pick<TensorInfo, 'shape' | 'dtype'>>;
  readFloat32(name: string): Promise<Float32Array>;
}

/** All leaves of a tree, in data order. */
export function leavesOf(tree: object): Leaf[] {
  return Object.values(tree).flatMap((node: unknown) =>
    typeof node !== 'object' || node === null ? [] : isLeaf(node) ? [node] : leavesOf(node),
  );
}

/**
 * Checks that a file and a tree agree, before anything is read.
 * @param ignored names in the file that this use of the checkpoint does not need
 * @throws UserError listing every missing, unused and misshapen tensor together
 */
export function checkNames(source: TensorSource, tree: object, ignored: RegExp): void {
  const leaves = leavesOf(tree);
  const wanted = new Set(leaves.map(({ name }) => name));
  const missing = [...wanted].filter((name) => !source.tensors.has(name));
  const unused = [...source.tensors.keys()].filter((name) => !wanted.has(name) && !ignored.test(name));
  const misshapen = leaves.flatMap(({ name, shape }) => {
    const found = source.tensors.get(name);
    return found && (found.shape.join() !== shape.join() || !isFloat(found.dtype))
      ? [`${name} is ${found.dtype} [${found.shape.join(', ')}], should be float [${shape.join(', ')}]`]
      : [];
  });
  const problems = Object.entries({ missing, unused, misshapen })
    .filter(([, names]) => names.length > 0)
    .map(([kind, names]) => `${names.length} ${kind}: ${listSome(names)}`);
  if (problems.length > 0) {
    throw new UserError(`the weights in ${source.dir} do not fit its config.json: ${problems.join('; ')}`);
  }
}

/**
 * Reads every leaf, one tensor at a time, so that no more than one file tensor is in memory beside the result.
 * On failure what was already loaded is disposed.
 * @param onTensor called after each tensor, for a progress bar
 */
export async function loadTree<T extends object>(
  source: TensorSource,
  tree: T,
  onTensor?: (leaf: Leaf) => void,
): Promise<Loaded<T>> {
  const loaded: (tf.Tensor | Matrix)[] = [];
  const load = async (node: unknown): Promise<unknown> => {
    if (typeof node !== 'object' || node === null) return node;
    if (isLeaf(node)) {
      const tensor = node.build(await source.readFloat32(node.name));
      loaded.push(tensor);
      onTensor?.(node);
      return tensor;
    }
    const result: Record<string, unknown> | unknown[] = Array.isArray(node) ? [] : {};
    for (const [key, child] of Object.entries(node))
      (result as Record<string, unknown>)[key] = await load(child);
    return result;
  };
  try {
    return (await load(tree)) as Loaded<T>;
  } catch (error) {
    tf.dispose(loaded);
    throw error;
  }
}

const isFloat = (dtype: string): boolean => /^B?F\d+$/.test(dtype);

function isLeaf(node: object): node is Leaf {
  return 'leaf' in node;
}

function listSome(names: string[], most = 8): string {
  const more = names.length - most;
  return names.slice(0, most).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
