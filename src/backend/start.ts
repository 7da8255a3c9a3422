import * as tf from '@tensorflow/tfjs-core';
import { messageOf, UserError } from '../errors.ts';
import { setTraits } from '../tensor/traits.ts';
import type { Backend, BackendName, BackendReport } from './backend.ts';
import { cpu } from './cpu.ts';
import { prove } from './prove.ts';
import { tensorflow } from './tensorflow.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export type { BackendName };

/** The backends in the order `auto` tries them: the fastest first, the one that always works last; then those it does not. */
const backends: readonly Backend[] = [tensorflow, wasm, cpu, webgpu];
/** All of them, in this order. */
export const backendNames: readonly BackendName[] = backends.map(({ name }) => name);

/** A backend that runs, and why this one. */
export interface BackendChoice extends BackendReport {
  name: BackendName;
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
  const candidates = backends.filter(
    ({ name, byNameOnly }) => choice === name || (choice === 'auto' && !byNameOnly),
  );
  if (candidates.length === 0) {
    throw new UserError(`unknown backend "${choice}": choose auto, ${backendNames.join(', ')}`);
  }
  const rejected: BackendChoice['rejected'] = [];
  const before = tf.getBackend();
  for (const backend of candidates) {
    const { name } = backend;
    try {
      tf.env().set('PROD', true); // no "you are running TensorFlow.js in Node" banner
      setTraits(name, backend.traits);
      const report = await backend.start();
      await prove(name);
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

const firstLine = (text: string): string => text.split('\n')[0];
