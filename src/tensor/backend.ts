import { createRequire } from 'node:module';
import { availableParallelism, cpus } from 'node:os';
import * as tf from '@tensorflow/tfjs-core';
import { messageOf, UserError } from '../errors.ts';
import { loadNative } from './native.ts';
import { startWasm } from './wasm.ts';

/** The backends in the order `auto` tries them: the fastest first, the one that always works last. */
export const backendNames = ['tensorflow', 'wasm', 'cpu'] as const;
export type BackendName = (typeof backendNames)[number];

/** What runs, for people: `vtc doctor` and the machine line of a benchmark print it. */
export interface BackendReport {
  name: BackendName;
  /** The device that computes, not the package that was asked for. */
  device: string;
  /** Package and library versions, e.g. `@tensorflow/tfjs-backend-wasm 4.22.0`. */
  version: string;
  threads: number;
}

/** What the fast paths in this folder must know of the backend that runs. */
export interface BackendTraits {
  /** False on wasm: a batched or transposed product there is a scalar loop. */
  fastBatchedMatMul: boolean;
  /** Matrices are cut into column blocks of about so many bytes; Infinity leaves them whole. */
  columnBlockBytes: number;
}

export { limits, requireMemory } from './wasm.ts';

const require = createRequire(import.meta.url);

interface Loaded {
  report: Omit<BackendReport, 'name'>;
}

/** Per backend: import its package, which registers it, and say what it is. */
const loaders: Record<BackendName, () => Promise<Loaded>> = {
  async tensorflow() {
    const { label, needsGpu } = loadNative();
    await activate('tensorflow');
    const backend = tf.backend() as unknown as {
      isUsingGpuDevice?: boolean;
      binding?: { TF_Version?: string };
    };
    if (needsGpu && !backend.isUsingGpuDevice) {
      throw new Error(
        'the CUDA build sees no GPU (TF_CPP_MIN_LOG_LEVEL=0 in the environment shows why); ' +
          'npm run setup:tensorflow -- --cuda --remove removes that build',
      );
    }
    return {
      report: {
        device: backend.isUsingGpuDevice ? 'GPU (CUDA)' : `CPU (${cpuModel()})`,
        version: `${label}, TensorFlow ${backend.binding?.TF_Version ?? 'of unknown version'}`,
        threads: availableParallelism(),
      },
    };
  },
  async wasm() {
    const name = '@tensorflow/tfjs-backend-wasm';
    const threads = await startWasm();
    return {
      report: {
        device: `CPU (${cpuModel()}), WebAssembly SIMD`,
        version: `${name} ${packageVersion(name)}`,
        threads,
      },
    };
  },
  async cpu() {
    const name = '@tensorflow/tfjs-backend-cpu';
    await import('@tensorflow/tfjs-backend-cpu');
    await activate('cpu');
    return {
      report: {
        device: `CPU (${cpuModel()}), plain JavaScript`,
        version: `${name} ${packageVersion(name)}`,
        threads: 1,
      },
    };
  },
};

export interface BackendChoice extends BackendReport {
  /** Why this one: what was asked for, and what was tried before it. */
  why: string;
  /** The backends that were tried and do not run, with the reason. */
  rejected: { name: BackendName; reason: string }[];
}

/**
 * Starts a backend and makes it the one TensorFlow.js uses.
 * `auto` takes the first of {@link backendNames} that loads and computes known values; a backend asked for by name
 * either runs or fails with the reason.
 * @throws UserError for an unknown name, or when the backend asked for does not run
 */
export async function startBackend(choice: string = 'auto'): Promise<BackendChoice> {
  if (choice !== 'auto' && !(backendNames as readonly string[]).includes(choice)) {
    throw new UserError(`unknown backend "${choice}": choose auto, ${backendNames.join(', ')}`);
  }
  const candidates = choice === 'auto' ? backendNames : [choice as BackendName];
  const rejected: BackendChoice['rejected'] = [];
  const before = tf.getBackend();
  for (const name of candidates) {
    try {
      tf.env().set('PROD', true); // no "you are running TensorFlow.js in Node" banner
      const { report } = await loaders[name]();
      await smokeTest(name);
      const why = choice === 'auto' ? 'the first that loads and computes known values' : 'asked for by name';
      return { name, ...report, why, rejected };
    } catch (error) {
      if (error instanceof UserError) throw error;
      rejected.push({ name, reason: firstLine(messageOf(error)) });
    }
  }
  if (before) await tf.setBackend(before);
  throw new UserError(
    `backend "${choice}" does not run: ${rejected.map(({ name, reason }) => `${name}: ${reason}`).join('; ')}`,
  );
}

/** The traits of the backend that runs now. */
export function backendTraits(): BackendTraits {
  return tf.getBackend() === 'wasm'
    ? { fastBatchedMatMul: false, columnBlockBytes: 4 * 1024 ** 2 }
    : { fastBatchedMatMul: true, columnBlockBytes: Infinity };
}

async function activate(name: BackendName): Promise<void> {
  const started = await tf.setBackend(name);
  if (!started) throw new Error('TensorFlow.js could not initialise it');
  await tf.ready();
}

/**
 * A backend that loads may still compute nothing, or the wrong thing. Runs the ops everything here rests on
 * against values known on paper.
 * @throws Error naming the op, what came out and what should have
 */
export async function smokeTest(name: string): Promise<void> {
  const tensors = tf.tidy(() => {
    const a = tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3]);
    const b = tf.tensor2d([1, 0, 0, 1, 1, 1], [3, 2]);
    return {
      matMul: tf.matMul(a, b),
      softmax: tf.softmax(tf.tensor1d([0, Math.log(3)])),
      gather: tf.gather(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor1d([1, 0], 'int32')),
      erf: tf.erf(tf.tensor1d([0.5])),
    };
  });
  const expected = { matMul: [4, 5, 10, 11], softmax: [0.25, 0.75], gather: [3, 4, 1, 2], erf: [0.5204999] };
  try {
    for (const [op, values] of Object.entries(expected)) {
      const actual = await tensors[op as keyof typeof tensors].data();
      if (values.length !== actual.length || values.some((x, i) => !(Math.abs(x - actual[i]) < 1e-5))) {
        throw new Error(`${name} computes ${op} wrong: [${actual.join(', ')}] for [${values.join(', ')}]`);
      }
    }
  } finally {
    tf.dispose(tensors);
  }
}

function packageVersion(name: string): string {
  return (require(`${name}/package.json`) as { version: string }).version;
}

const cpuModel = (): string => cpus()[0]?.model.trim() ?? 'unknown';
const firstLine = (text: string): string => text.split('\n')[0];
