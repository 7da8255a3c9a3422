/** Plain JavaScript: slow, and runs everywhere. */
import { activate, cpuModel, labelPackage, type Backend } from './backend.ts';
import { useHostHalf } from './host-half.ts';
import { prefersStoredOnHost, requireHostMemory } from './host-memory.ts';

export const cpu: Backend = {
  name: 'cpu',
  async start() {
    await import('@tensorflow/tfjs-backend-cpu');
    await activate('cpu');
    useHostHalf('cpu');
    return {
      device: `CPU (${cpuModel()}), plain JavaScript`,
      version: labelPackage('@tensorflow/tfjs-backend-cpu'),
      threads: 1,
    };
  },
  traits: {
    fastBatchedMatMul: true,
    columnBlockBytes: Infinity,
    requireMemory: requireHostMemory,
    prefersStored: prefersStoredOnHost,
  },
};
