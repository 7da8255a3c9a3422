/** Weights in several files, as Hugging Face cuts them: `model-00001-of-00003.safetensors` and an index. */
import { dtypeBytes } from '../io/dtype.ts';
import type { TensorSpec } from '../io/safetensors.ts';
import { writeJsonFiles } from './files.ts';

/** One of the files, and what goes into it. */
export interface Shard<T extends TensorSpec> {
  file: string;
  tensors: Map<string, T>;
}

/** Bytes of a tensor in a file. */
export const bytesOf = ({ dtype, shape }: TensorSpec): number =>
  dtypeBytes[dtype] * shape.reduce((product, n) => product * n, 1);

/** Bytes of several. */
export const sumBytes = (tensors: Iterable<TensorSpec>): number =>
  [...tensors].reduce((sum, one) => sum + bytesOf(one), 0);

/**
 * Tensors in their order, in as many files as it takes.
 * @param most bytes of a file, unless a single tensor is larger
 */
export function planShards<T extends TensorSpec>(tensors: Map<string, T>, most: number): Shard<T>[] {
  const shards = [new Map<string, T>()];
  let filled = 0;
  for (const [name, tensor] of tensors) {
    if (filled > 0 && filled + bytesOf(tensor) > most) {
      shards.push(new Map());
      filled = 0;
    }
    shards.at(-1)!.set(name, tensor);
    filled += bytesOf(tensor);
  }
  const number = (n: number) => String(n).padStart(5, '0');
  const fileOf = (i: number) => `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
  return shards.map((held, i) => ({
    file: shards.length === 1 ? 'model.safetensors' : fileOf(i),
    tensors: held,
  }));
}

/** Says in a folder which file holds which tensor; nothing of a single file, which needs no index. */
export async function writeIndex(dir: string, shards: readonly Shard<TensorSpec>[]): Promise<void> {
  if (shards.length === 1) return;
  const placed = shards.flatMap(({ file, tensors }) => [...tensors.keys()].map((name) => [name, file]));
  await writeJsonFiles(dir, {
    'model.safetensors.index.json': {
      metadata: { total_size: sumBytes(shards.flatMap(({ tensors }) => [...tensors.values()])) },
      weight_map: Object.fromEntries(placed) as Record<string, string>,
    },
  });
}
