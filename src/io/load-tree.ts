import * as tf from '@tensorflow/tfjs-core';
import type { Matrix } from '../tensor/linear.ts';
import { canWiden, widen, type WidenedDtype } from '../tensor/widen.ts';
import { dtypeBytes } from './dtype.ts';
import { allocate } from './safetensors-reader.ts';
import { isLeaf, leavesOf, type Leaf, type Loaded, type TensorSource } from './weight-table.ts';

/**
 * Reads every leaf, one tensor at a time, so that no more than one file tensor is in memory beside the result; where
 * native TensorFlow converts it, two. The largest come first: the room they needed on the way then serves the others.
 * On failure what was already loaded is disposed.
 * @param onTensor called after each tensor, for a progress bar
 */
export async function loadTree<T extends object>(
  source: TensorSource,
  tree: T,
  onTensor?: (leaf: Leaf) => void,
): Promise<Loaded<T>> {
  const leaves = leavesOf(tree).sort((a, b) => countOf(b) - countOf(a));
  const readWide = readAhead(
    source,
    leaves.filter((leaf) => wideDtype(source, leaf)),
  );
  const tensors = new Map<Leaf, tf.Tensor | Matrix>();
  try {
    for (const leaf of leaves) {
      const dtype = wideDtype(source, leaf);
      const tensor = dtype
        ? widen(await readWide(), dtype, leaf.shape, leaf.transposes === true)
        : leaf.build(await source.readFloat32(leaf.name));
      tensors.set(leaf, tensor);
      onTensor?.(leaf);
    }
  } catch (error) {
    tf.dispose([...tensors.values()]);
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
function wideDtype(source: TensorSource, { name, transposes }: Leaf): WidenedDtype | undefined {
  const dtype = source.tensors.get(name)?.dtype;
  return source.readRaw && transposes !== undefined && canWiden(dtype) ? dtype : undefined;
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

  const start = (turn: number): Promise<Uint8Array> | undefined => {
    const reading = turn < leaves.length ? source.readRaw!(leaves[turn].name, buffers[turn % 2]) : undefined;
    reading?.catch(() => {}); // thrown where it is awaited, if that comes to pass
    return reading;
  };
  let turn = 0;
  let reading = start(turn);
  return async () => {
    const bytes = await reading!;
    reading = start(++turn);
    return bytes;
  };
}

/**
 * Room for bytes that TensorFlow reads where they lie. It copies what does not begin at a multiple of 64, and malloc's
 * large blocks begin 16 bytes into a page.
 */
const allocateAligned = (bytes: number, what: string): Uint8Array => allocate(bytes + 48, what).subarray(48);
