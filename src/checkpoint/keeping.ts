/** How a model's weights are kept in memory. */
import * as tf from '@tensorflow/tfjs-core';
import type { LayerStream } from '../decoder/layer-stream.ts';
import type { LlamaBlockWeights } from '../decoder/weights.ts';
import { UserError } from '../errors.ts';
import { formatKept, loadTree } from '../io/load-tree.ts';
import { leavesOf, type Leaf, type TensorSource, type Tree } from '../io/weight-table.ts';
import { keepsHalf } from '../tensor/half.ts';
import { backendTraits, type WeightBytes } from '../tensor/traits.ts';
import type { weightTable } from './names.ts';

/**
 * `float32`: all widened at load. `stored`: matrices of a 16-bit file stay as they are, and are widened one at a time, just
 * before a product. `streamed`: the same, but the decoder's layers are read from the file again in each pass.
 */
export const keepings = ['float32', 'stored', 'streamed'] as const;
/** One of {@link keepings}. */
export type Keeping = (typeof keepings)[number];
type Table = ReturnType<typeof weightTable>;

/** How many of a decoder's layers are there at a time when they are streamed: the one that computes, and the next. */
const layersAhead = 2;

/**
 * What was asked for, or what suits: `stored` where the file is of 16 bits and float32 would not fit well.
 * @param dir names the folder in messages
 * @throws UserError where the backend cannot keep weights so, or they do not fit, with what would
 */
export function chooseKeeping(
  source: TensorSource,
  table: Table,
  asked: Keeping | undefined,
  dir: string,
): Keeping {
  const isHalf = leavesOf(table).some((leaf) => formatKept(source, leaf));
  const float32 = weigh(source, table, 'float32');
  const stays = isHalf && keepsHalf() && backendTraits().prefersStored(float32);
  const keeping = asked ?? (stays ? 'stored' : 'float32');
  if (keeping !== 'float32' && !keepsHalf()) {
    throw new UserError(
      `--weights-as ${keeping}: the ${tf.getBackend()} backend keeps float32 weights alone`,
    );
  }
  if (keeping === 'streamed' && !table.decoder) {
    throw new UserError(`--weights-as streamed is for a decoder's layers, and ${dir} has none`);
  }
  try {
    backendTraits().requireMemory(weigh(source, table, keeping), dir);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const less = keepsHalf() ? keepings.slice(keepings.indexOf(keeping) + 1) : [];
    const fits = less.find((other) => table.decoder && doesFit(weigh(source, table, other)));
    throw fits ? new UserError(`${error.message}; with --weights-as ${fits} it fits`) : error;
  }
  return keeping;
}

function doesFit(weights: WeightBytes): boolean {
  try {
    backendTraits().requireMemory(weights, '');
    return true;
  } catch {
    return false;
  }
}

/** The bytes that a model's weights take. */
export function weigh(source: TensorSource, table: Table, keeping: Keeping): WeightBytes {
  const { decoder } = table;
  const resident =
    keeping === 'streamed' && decoder
      ? { ...table, decoder: { ...decoder, layers: decoder.layers.slice(0, layersAhead) } }
      : table;
  const leaves = leavesOf(resident);
  const stays = (leaf: Leaf) => keeping !== 'float32' && formatKept(source, leaf) !== undefined;
  const sum = (some: Leaf[]) => some.reduce((total, leaf) => total + float32Bytes(leaf), 0);
  const [kept, wide] = [leaves.filter(stays), leaves.filter((leaf) => !stays(leaf))];
  return {
    matrices: wide.filter((leaf) => leaf.multiplies).map(float32Bytes),
    others: sum(wide.filter((leaf) => !leaf.multiplies)),
    stored: sum(kept) / 2,
    widened: kept
      .filter((leaf) => leaf.multiplies)
      .reduce((most, leaf) => Math.max(most, float32Bytes(leaf)), 0),
  };
}

/** A weight's bytes as float32. */
export const float32Bytes = ({ shape }: Pick<Leaf, 'shape'>): number =>
  4 * shape.reduce((product, n) => product * n, 1);

/**
 * Layers as they are asked for, in order and around again: while one computes, the next is read.
 * @param onRead told which layer was asked for
 */
export function streamLayers(
  source: TensorSource,
  layers: Tree<LlamaBlockWeights[]>,
  onRead?: (layer: number, count: number) => void,
): LayerStream {
  const read = (l: number) => {
    const reading = loadTree(source, layers[l], undefined, { stored: true });
    reading.catch(() => {}); // thrown where it is awaited
    return { l, reading };
  };
  let next: ReturnType<typeof read> | undefined = read(0);
  const drop = async () => {
    const unused = next;
    next = undefined;
    if (unused) tf.dispose((await unused.reading) as unknown as tf.TensorContainer);
  };
  return {
    take: async (l) => {
      onRead?.(l, layers.length);
      if (next?.l !== l) {
        await drop();
        next = read(l);
      }
      const taken = await next.reading;
      next = read((l + 1) % layers.length);
      return taken;
    },
    close: drop,
  };
}
