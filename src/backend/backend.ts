/** One of TensorFlow.js's backends, as this project starts it on Node: a file each, `start.ts` has the list. */
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import * as tf from '@tensorflow/tfjs-core';
import type { BackendTraits } from '../tensor/traits.ts';

/** What a backend is called here and in TensorFlow.js. */
export type BackendName = 'tensorflow' | 'wasm' | 'cpu' | 'webgpu';

export interface Backend {
  /** TensorFlow.js's name for it, and the one that `--backend` takes. */
  name: BackendName;
  /**
   * Loads its package, which registers it, makes it the current backend and says what it is.
   * @throws Error with the reason why it does not run here
   */
  start(): Promise<BackendReport>;
  traits: BackendTraits;
  /** `auto` does not try it. */
  byNameOnly?: boolean;
}

/** What runs, for people: `vtc doctor` and the machine line of a benchmark print it. */
export interface BackendReport {
  /** The device that computes, not the package that was asked for. */
  device: string;
  /** Package and library versions, e.g. `@tensorflow/tfjs-backend-wasm 4.22.0`. */
  version: string;
  threads: number;
}

/** Makes a registered backend the current one. */
export async function activate(name: BackendName): Promise<void> {
  if (!(await tf.setBackend(name))) throw new Error('TensorFlow.js could not initialise it');
  await tf.ready();
}

const require = createRequire(import.meta.url);

/** A package's name and version. */
export const labelPackage = (name: string): string =>
  `${name} ${(require(`${name}/package.json`) as { version: string }).version}`;

export const cpuModel = (): string => cpus()[0]?.model.trim() ?? 'unknown';
