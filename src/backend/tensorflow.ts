/** Native TensorFlow, on the CPU or, where that is what was built, on CUDA. */
import { availableParallelism } from 'node:os';
import * as tf from '@tensorflow/tfjs-core';
import { activate, cpuModel, type Backend } from './backend.ts';
import { prefersStoredOnHost, requireHostMemory } from './host-memory.ts';
import { expectWeights } from './native-half.ts';
import { loadNative } from './native.ts';

export const tensorflow: Backend = {
  name: 'tensorflow',
  async start() {
    const { label, needsGpu } = loadNative();
    await activate('tensorflow');
    const backend = tf.backend() as unknown as {
      isUsingGpuDevice?: boolean;
      binding?: { TF_Version?: string };
    };
    if (needsGpu && !backend.isUsingGpuDevice) {
      throw new Error(
        'the CUDA build sees no GPU; npm run setup:tensorflow -- --cuda says why, and with --remove removes that build',
      );
    }
    return {
      device: backend.isUsingGpuDevice ? 'GPU (CUDA)' : `CPU (${cpuModel()})`,
      version: `${label}, TensorFlow ${backend.binding?.TF_Version ?? 'of unknown version'}`,
      threads: availableParallelism(),
    };
  },
  traits: {
    fastBatchedMatMul: true,
    columnBlockBytes: Infinity,
    requireMemory: requireHostMemory,
    prefersStored: prefersStoredOnHost,
    expectWeights,
  },
};
