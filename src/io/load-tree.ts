import * as tf from '@tensorflow/tfjs-core';
import type { HalfFormat, HalfMatrix } from '../tensor/half.ts';
import type { Matrix } from '../tensor/linear.ts';
import { backendTraits } from '../tensor/traits.ts';
import { canWiden, widen, type WidenedDtype } from '../tensor/widen.ts';
import { dtypeBytes } from './dtype.ts';
import { allocate } from './read-at.ts';
import { isLeaf, leavesOf, type Leaf, type Loaded, type TensorSource } from './weight-table.ts';

/**
 * Reads every leaf, one tensor at a time, so that no more than one file tensor is in memory beside the result; where
 * native TensorFlow converts it, two. The largest come first: the room they needed on the way then serves the others.
 * On failure what was already loaded is disposed.
 * @param onTensor called after each tensor, for a progress bar
 * @param options stored: 16-bit matrices stay as the file holds them
 */
export async function loadTree<T extends object>(
  source: TensorSource,
  tree: T,
  onTensor?: (leaf: Leaf) => void,
  { stored = false }: { stored?: boolean } = {},
): Promise<Loaded<T>> {
  const leaves = leavesOf(tree).sort((a, b) => countOf(b) - countOf(a));
  const stays = (leaf: Leaf) => (stored ? formatKept(source, leaf) : undefined);
  const wideDtype = (leaf: Leaf) => (stays(leaf) ? undefined : wideDtypeOf(source, leaf));
  const readWide = readAhead(
    source,
    leaves.filter((leaf) => wideDtype(leaf)),
  );
  const readKept = readEach(
    source,
    leaves.filter((leaf) => stays(leaf)),
  );
  const tensors = new Map<Leaf, tf.Tensor | Matrix>();
  try {
    for (const leaf of leaves) {
      const dtype = wideDtype(leaf);
      const format = stays(leaf);
      const tensor = format
        ? keepPairs(await readKept(), format, leaf.shape)
        : dtype
          ? widen(await readWide(), dtype, leaf.shape, leaf.transposes === true)
          : leaf.build(await source.readFloat32(leaf.name));
      tensors.set(leaf, tensor);
      onTensor?.(leaf);
    }
  } catch (error) {
    tf.dispose([...tensors.values()] as unknown as tf.TensorContainer);
    throw error;
  }
  return fill(tree, tensors) as Loaded<T>;
}

/** The tree with its tensors in place of its leaves. */
function fill(node: unknown, tensors: Map<Leaf, tf.Tensor | Matrix>): unknown {
  if (typeof node !== 'object' || node === null) return node;
  if (isLeaf(node)) return tensors.get(node);
  if (Array.isArray(node)) return node.map((child) => fill(child, tensors));
  return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, fill(child, tensors)]));
}

const countOf = ({ shape }: Leaf): number => shape.reduce((product, n) => product * n, 1);

/** The format in which the running backend takes a large leaf straight from the file; undefined where it does not. */
function wideDtypeOf(source: TensorSource, { name, transposes }: Leaf): WidenedDtype | undefined {
  const dtype = source.tensors.get(name)?.dtype;
  return source.readRaw && transposes !== undefined && canWiden(dtype) ? dtype : undefined;
}

/** The format in which a leaf's values stay as they lie in the file; undefined where they do not. */
export function formatKept(source: TensorSource, { name, shape, mayStay }: Leaf): HalfFormat | undefined {
  const dtype = source.tensors.get(name)?.dtype;
  const fits = source.readRaw && mayStay && shape[1] % 2 === 0;
  return fits && (dtype === 'BF16' || dtype === 'F16') ? dtype : undefined;
}

/** TensorFlow reads the bytes where they lie, for as long as the tensor lives; wasm has a copy. */
const keepPairs = (bytes: Uint8Array, format: HalfFormat, [rows, columns]: number[]): HalfMatrix => ({
  pairs: tf.tensor2d(
    new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4),
    [rows, columns / 2],
    'int32',
  ),
  format,
});

/** Reads leaves one after another, each into room of its own; while the caller takes one, the next ones are read. */
function readEach(source: TensorSource, leaves: readonly Leaf[]): () => Promise<Uint8Array> {
  const start = async (turn: number): Promise<Uint8Array | undefined> => {
    if (turn >= leaves.length) return undefined;
    const { name, shape } = leaves[turn];
    const room = allocateAligned(2 * shape[0] * shape[1], source.dir);
    backendTraits().expectWeights?.(room);
    return source.readRaw!(name, room);
  };
  return inTurn(start, 7) as () => Promise<Uint8Array>; // a block's seven at once, read also while nobody waits
}

/** What is started some turns before it is taken. */
function inTurn<T>(start: (turn: number) => Promise<T>, ahead = 1): () => Promise<T> {
  const begin = (turn: number) => {
    const reading = start(turn);
    reading.catch(() => {}); // thrown where it is awaited, if that comes to pass
    return reading;
  };
  const begun = Array.from({ length: ahead }, (_, turn) => begin(turn));
  let turn = ahead;
  return async () => {
    const result = await begun.shift()!;
    begun.push(begin(turn++));
    return result;
  };
}

/**
 * Reads large leaves one after another, into two buffers that take turns: while the caller converts one, the other is
 * filled from the file. Reused, neither costs fresh memory, which takes longer to get than to fill.
 * @returns reads the next leaf; its bytes are good until the call after
 */
function readAhead(source: TensorSource, leaves: readonly Leaf[]): () => Promise<Uint8Array> {
  const bytesOf = (leaf: Leaf) => countOf(leaf) * dtypeBytes[source.tensors.get(leaf.name)!.dtype];
  const largest = leaves.map(bytesOf).reduce((most, bytes) => Math.max(most, bytes), 0);
  const buffers = leaves.slice(0, 2).map(() => allocateAligned(largest, source.dir));

  const start = async (turn: number): Promise<Uint8Array | undefined> =>
    turn < leaves.length ? source.readRaw!(leaves[turn].name, buffers[turn % 2]) : undefined;
  return inTurn(start) as () => Promise<Uint8Array>;
}

/**
 * Room for bytes that TensorFlow reads where they lie. It copies what does not begin at a multiple of 64, and malloc's
 * large blocks begin 16 bytes into a page.
 */
const allocateAligned = (bytes: number, what: string): Uint8Array => allocate(bytes + 48, what).subarray(48);
