import * as tf from '@tensorflow/tfjs-core';
import { shape } from './axes.ts';

/** Every name a trace can hold, in data order, and the axes of its tensor. `LL` is the layer in two digits. */
export const traceAxes = {
  'vision.pixels': 'B S S 3',
  'vision.hidden.LL': 'B N D',
  'vision.attention.LL': 'B H N N',
  'compress.scores': 'B P',
  'compress.kept': 'B U',
  'projector.output': 'B U E',
  'decoder.embeddings': 'B T E',
  'decoder.hidden.LL': 'B T E',
  'decoder.attention.LL': 'B H T T',
  'decoder.logits': 'B T V',
  'generate.tokens': 'B R',
} as const;

export type TraceName = keyof typeof traceAxes;

/**
 * Where a run leaves its named tensors. Every function that can be traced takes `trace?: Trace`; without one it
 * records nothing and computes nothing extra.
 */
export interface Trace {
  /** Whether a name is recorded: asked before something is computed only for the trace. */
  wants(name: TraceName): boolean;
  /** Keeps a tensor under its name; the caller still owns its own. Each name once. */
  record(name: TraceName, tensor: tf.Tensor, layer?: number): void;
}

export interface RecordedTrace extends Trace {
  tensors: Map<string, tf.Tensor>;
  dispose(): void;
}

/** `vision.hidden.LL` and 7 → `vision.hidden.07` */
export function traceKey(name: TraceName, layer?: number): string {
  return layer === undefined ? name : name.replace('LL', String(layer).padStart(2, '0'));
}

/** The axes of a recorded key: `vision.hidden.07` → `B N D`. */
export function axesOf(key: string): string | undefined {
  return (traceAxes as Record<string, string>)[key.replace(/\.\d\d+$/, '.LL')];
}

/**
 * A trace that keeps what it is given, until `dispose`.
 * @param wants which names to record; all of them when left out
 */
export function createTrace(wants: (name: TraceName) => boolean = () => true): RecordedTrace {
  const tensors = new Map<string, tf.Tensor>();
  return {
    tensors,
    wants,
    record(name, tensor, layer) {
      if (!wants(name)) return;
      const key = traceKey(name, layer);
      if (tensors.has(key)) throw new Error(`the trace already holds ${key}`);
      shape({ [key]: tensor }, traceAxes[name]);
      tensors.set(key, tf.keep(tf.clone(tensor)));
    },
    dispose() {
      for (const tensor of tensors.values()) tensor.dispose();
      tensors.clear();
    },
  };
}
