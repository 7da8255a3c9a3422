/** Trained systems with weights that are none of a training. */
import type { TensorSource } from '../../src/io/weight-table.ts';
import { loadTree } from '../../src/io/load-tree.ts';
import type { Loaded } from '../../src/io/weight-table.ts';
import { openSafetensors } from '../../src/node/safetensors.ts';
import { golden } from './golden.ts';

/** A part of a golden file as weights: the tensors whose names begin with `SYSTEM.`. */
export async function readGoldenWeights<T extends object>(system: string, tree: T): Promise<Loaded<T>> {
  const file = await openSafetensors(golden('trained.safetensors'));
  const own = [...file.tensors].filter(([name]) => name.startsWith(`${system}.`));
  const source: TensorSource = {
    dir: 'trained.safetensors',
    tensors: new Map(own.map(([name, info]) => [name.slice(system.length + 1), info])),
    readFloat32: (name) => file.readFloat32(`${system}.${name}`),
  };
  try {
    return await loadTree(source, tree);
  } finally {
    await file.close();
  }
}
