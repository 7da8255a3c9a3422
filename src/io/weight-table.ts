import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { asFloat32 } from '../tensor/half.ts';
import { toLinearBlocks, toLinearWeight, type Linear, type Matrix, type Table } from '../tensor/linear.ts';
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
  /** Of a large matrix [rows, columns]: whether build transposes it, and does nothing else but cut it in blocks. */
  transposes?: boolean;
  /** Whether a 16-bit file's values may stay as they are: a product, or a gather, of such a matrix is known. */
  mayStay?: boolean;
  /** The file's values → the tensor that the layers use. */
  build(values: Float32Array): T;
  /** The inverse of build: the layers' tensor → the file's values. */
  unbuild(tensor: T): Promise<Float32Array>;
}

/** The record of tensors that a tree of leaves loads into. */
export type Loaded<Tree> =
  Tree extends Leaf<infer T> ? T : Tree extends object ? { [Key in keyof Tree]: Loaded<Tree[Key]> } : Tree;

/** The inverse of a build that leaves the values as they are. */
const valuesOf = (tensor: tf.Tensor) => tensor.data<'float32'>();

/** The same of a tensor that is made for it. */
export async function takeValues(made: tf.Tensor): Promise<Float32Array> {
  try {
    return await valuesOf(made);
  } finally {
    made.dispose();
  }
}

/** A single number []. */
export function scalar(name: string): Leaf<tf.Scalar> {
  const build = ([value]: Float32Array) => tf.scalar(value);
  return { leaf: true, name, shape: [], multiplies: false, build, unbuild: valuesOf };
}

/** A vector [n], used as it is. */
export function vector(name: string, n: number): Leaf<tf.Tensor1D> {
  const build = (values: Float32Array) => tf.tensor1d(values);
  return { leaf: true, name, shape: [n], multiplies: false, build, unbuild: valuesOf };
}

/** A table [V, E] of which rows are taken. */
export function embedding(name: string, V: number, E: number): Leaf<Table> {
  const rows = table(name, V, E);
  return { ...rows, mayStay: true, unbuild: (weight) => rows.unbuild(asFloat32(weight)) };
}

/** A matrix [rows, columns], used as it is. */
export function table(name: string, rows: number, columns: number): Leaf<tf.Tensor2D> {
  const shape: [number, number] = [rows, columns];
  const build = (values: Float32Array) => tf.tensor2d(values, shape);
  return { leaf: true, name, shape, multiplies: false, transposes: false, build, unbuild: valuesOf };
}

/** A matrix that PyTorch stores [out, in] and {@link Linear} wants [in, out]. @param blocked in blocks, where they help */
export function matrix(name: string, inner: number, out: number, blocked = true): Leaf<Matrix> {
  const shape = [out, inner];
  const build = (values: Float32Array): Matrix =>
    blocked ? toLinearBlocks(values, shape) : toLinearWeight(values, shape);
  const whole = (weight: tf.Tensor2D | tf.Tensor2D[]) =>
    Array.isArray(weight) ? tf.concat(weight, 1) : weight;
  const unbuild = (weight: Matrix) => takeValues(tf.tidy(() => tf.transpose(whole(asFloat32(weight)))));
  return { leaf: true, name, shape, multiplies: true, transposes: true, mayStay: true, build, unbuild };
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
  /** The bytes as they lie in the file, at the beginning of `into`. A source that is no file has none. */
  readRaw?(name: string, into: Uint8Array): Promise<Uint8Array>;
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
 * @param whole what they do not fit, in the refusal
 * @throws UserError listing every missing, unused and misshapen tensor together
 */
export function checkNames(
  source: TensorSource,
  tree: object,
  ignored: RegExp,
  whole = 'its config.json',
): void {
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
    const cause = likelyCause(missing, unused, misshapen.length);
    const because = cause ? ` (${cause})` : '';
    throw new UserError(`the weights in ${source.dir} do not fit ${whole}${because}: ${problems.join('; ')}`);
  }
}

const signs: [sign: RegExp, cause: string][] = [
  [
    /\.(qweight|qzeros|g_idx|scales|SCB|absmax|quant_map|weight_scale(_inv)?|quant_state\.\S+)$/,
    'they are quantised, and only plain float weights are read',
  ],
  [/\.lora_[AB]\.|\.lora_embedding_/, 'they are an adapter: merge it with its model first'],
  [
    /^model\.(mm_projector|vision_tower\.vision_tower)\./,
    "they are in the layout of the LLaVA authors' own code: vtc convert makes one that is read",
  ],
];

/** Why names do not match, where they show it. */
function likelyCause(missing: string[], unused: string[], misshapen: number): string | undefined {
  const told = signs.find(([sign]) => unused.some((name) => sign.test(name)));
  if (told) return told[1];
  const layer = (names: string[]) => names.find((name) => /\.layers\.\d+\./.test(name));
  if (missing.length + unused.length === 0 && misshapen > 1) return "it describes another model's sizes";
  if (layer(missing) && unused.length === 0 && misshapen === 0) return 'it names more layers than they have';
  if (layer(unused) && missing.length === 0 && misshapen === 0) return 'it names fewer layers than they have';
  return undefined;
}

/**
 * The inverse of loadTree: a weights record as a checkpoint file holds it.
 * @returns each tensor's shape and values under its name in the file
 */
export async function storeTree<T extends object>(
  tree: T,
  weights: Loaded<T>,
): Promise<Map<string, { shape: number[]; data: Float32Array }>> {
  const stored = new Map<string, { shape: number[]; data: Float32Array }>();
  const store = async (node: unknown, value: unknown): Promise<void> => {
    if (typeof node !== 'object' || node === null) return;
    if (isLeaf(node)) {
      stored.set(node.name, { shape: node.shape, data: await node.unbuild(value as tf.Tensor | Matrix) });
      return;
    }
    for (const [key, child] of Object.entries(node)) {
      await store(child, (value as Record<string, unknown>)[key]);
    }
  };
  await store(tree, weights);
  return stored;
}

const isFloat = (dtype: string): boolean => /^B?F\d+$/.test(dtype);

export function isLeaf(node: object): node is Leaf {
  return 'leaf' in node;
}

function listSome(names: string[], most = 8): string {
  const more = names.length - most;
  return names.slice(0, most).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
