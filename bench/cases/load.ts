/**
 * Loading a LLaMA of real widths: from the folder's name to weights that lie on the backend as the layers use them. The
 * file was just written, so it comes out of the system's cache: what is timed is reading it from there, widening 16 bits
 * to 32, transposing, and getting the memory. The bytes are the file's; as many again twice over are written.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadModel } from '../../src/node/checkpoint.ts';
import { llamaTable } from '../../src/decoder/weights.ts';
import { encodeFloat32 } from '../../src/io/dtype.ts';
import { writeSafetensors } from '../../src/node/safetensors.ts';
import type { TensorToWrite } from '../../src/io/safetensors.ts';
import { leavesOf, type Leaf } from '../../src/io/weight-table.ts';
import type { BenchCase } from '../harness.ts';
import { llamaLayers, llamaShape } from '../shapes.ts';
import { normalPool } from '../weights.ts';
import type { Context } from './context.ts';

export type StoredFloat = 'BF16' | 'F16' | 'F32';
const bytesPerValue = { BF16: 2, F16: 2, F32: 4 };

type Config = ReturnType<typeof llamaShape>;

/** About 420 MB of bf16: 4 layers, a vocabulary of 8192. In the full run the other formats and the whole 1.1 B too. */
export function loadCases(context: Context): BenchCase[] {
  const small = { ...llamaShape(4), vocab_size: 8192 };
  const backends = context.backends.filter((backend) => context.full || backend === 'tensorflow');
  return [
    ...backends.flatMap((backend) => loadCase(small, 'BF16', backend)),
    ...(context.full ? backends : []).flatMap((backend) => [
      loadCase(small, 'F16', backend),
      loadCase(small, 'F32', backend),
    ]),
    ...(context.full && backends.includes('tensorflow')
      ? [loadCase(llamaShape(llamaLayers), 'BF16', 'tensorflow')]
      : []),
  ];
}

function loadCase(config: Config, dtype: StoredFloat, backend: string): BenchCase {
  const bytes = leavesOfLlama(config).reduce((sum, leaf) => sum + bytesPerValue[dtype] * countOf(leaf), 0);
  let dir: string | undefined;
  return {
    name: `load ${Math.round(bytes / 1e6)} MB of ${dtype.toLowerCase()}`,
    group: 'load',
    runner: backend,
    backend,
    work: { bytes },
    prepare: async () => {
      dir ??= await mkdtemp(path.join(tmpdir(), 'vtc-bench-load-'));
      await writeLlama(dir, config, dtype);
    },
    run: async () => {
      const model = await loadModel(dir!);
      const gain = model.decoder!.weights.norm;
      const digest = Array.from(await gain.data()).slice(0, 8);
      model.dispose();
      return { digest };
    },
    dispose: async () => {
      if (dir) await rm(dir, { recursive: true, force: true });
      dir = undefined;
    },
  };
}

const leavesOfLlama = (config: Config): Leaf[] => leavesOf(llamaTable(config, 'model.', 'lm_head'));
const countOf = ({ shape }: { shape: number[] }) => shape.reduce((product, n) => product * n, 1);

/** A checkpoint folder of normal numbers in the format asked for; every tensor is the beginning of one array. */
export async function writeLlama(dir: string, config: Config, dtype: StoredFloat): Promise<void> {
  await writeFile(
    path.join(dir, 'config.json'),
    JSON.stringify({ ...config, model_type: 'llama', rope_scaling: null }),
  );
  const leaves = leavesOfLlama(config);
  const pool = encodeFloat32(normalPool(), dtype);
  const values = new Uint8Array(bytesPerValue[dtype] * Math.max(...leaves.map(countOf)));
  for (let from = 0; from < values.length; from += pool.length) {
    values.set(pool.subarray(0, values.length - from), from);
  }
  const tensors: Record<string, TensorToWrite> = {};
  for (const { name, shape } of leaves) {
    tensors[name] = { dtype, shape, data: values.subarray(0, bytesPerValue[dtype] * countOf({ shape })) };
  }
  await writeSafetensors(path.join(dir, 'model.safetensors'), tensors, { format: 'pt' });
}
