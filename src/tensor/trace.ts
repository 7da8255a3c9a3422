/** The one observer of a run: what each step made, under fixed names, and how long it took. */
import * as tf from '@tensorflow/tfjs-core';
import { shape } from './axes.ts';
import { denseOf, type TokenMatrix } from './token-matrix.ts';

/** Every name a trace can hold, in data order, and the axes of its tensor. `LL` is the layer in two digits. */
export const traceAxes = {
  'vision.cells': 'B u p', // how much of each coarser patch each of the grid's is, where a method shows the tower fewer
  'vision.pixels': 'B S S 3',
  'vision.hidden.LL': 'B N D',
  'vision.attention.LL': 'B H N N',
  'vision.clsAttention.LL': 'B H P',
  'vision.keys.LL': 'B H N C',
  'vision.attended.LL': 'B N D', // between a layer's attention and its MLP, where a method acts there
  'vision.matrix.LL': 'B u p', // what a method makes of a layer's p tokens
  'vision.features': 'B P W', // W is D, or the sum of several layers'
  'compress.matrix': 'B Z P', // Z is U, and [CLS] where it goes along
  'compress.scores': 'B P',
  'compress.kept': 'B U',
  'compress.features': 'B Z W',
  'projector.output': 'B U E',
  'decoder.embeddings': 'B T E',
  'decoder.hidden.LL': 'B T E',
  'decoder.attention.LL': 'B H T T',
  'decoder.matrix.LL': 'B u p', // what a method makes of the picture's p tokens before a layer
  'decoder.cut.LL': 'B T E', // what it leaves of the sequence
  'decoder.logits': 'B T V',
  'generate.tokens': 'B R',
} as const;

/** One of the names in {@link traceAxes}. */
export type TraceName = keyof typeof traceAxes;

/** What a step made: a tensor, which stays the caller's, or what can be made one where it is wanted. */
export type Recorded = tf.Tensor | TokenMatrix | Promised;

/** A tensor that is made where somebody wants it. */
export interface Promised {
  shape: readonly number[];
  /** Makes it. */
  tensor(): tf.Tensor;
}

/** Where a run tells of its steps. Every function that can be watched takes `trace?: Trace`. */
export interface Trace {
  /** Whether a name's values are kept: asked before something is computed only for the trace. */
  wants(name: TraceName): boolean;
  /** Told after each step. Each name once a run. */
  record(name: TraceName, made: Recorded, layer?: number): void;
}

/** One step of a run: what it made, in the axis legend, and the time since the step before it. */
export interface Step {
  /** A {@link TraceName}, the layer in place of `LL`: `vision.hidden.07`. */
  name: string;
  axes: string;
  shape: readonly number[];
  milliseconds: number;
}

export interface RecordedTrace extends Trace {
  steps: Step[];
  tensors: Map<string, tf.Tensor>;
  matrices: Map<string, TokenMatrix>;
  /** Frees the tensors. */
  dispose(): void;
}

/** `vision.hidden.LL` and 7 → `vision.hidden.07` */
export function traceKey(name: TraceName, layer?: number): string {
  return layer === undefined ? name : name.replace('LL', String(layer).padStart(2, '0'));
}

/** `vision.hidden.07` → `vision.hidden.LL` */
export const stepName = (key: string): TraceName => key.replace(/\.\d\d+$/, '.LL') as TraceName;

/** The axes of a recorded key: `vision.hidden.07` → `B N D`. */
export function axesOf(key: string): string | undefined {
  return (traceAxes as Record<string, string>)[stepName(key)];
}

/** Who listens, and to which clock. */
export interface TraceOptions {
  /** Called after each step. */
  onStep?: (step: Step) => void;
  /** A clock, in milliseconds. */
  now?: () => number;
}

/**
 * A trace that keeps the steps, and the tensors it wants, until `dispose`.
 * @param wants which tensors to keep; all of them when left out. Matrices are kept always, they are small.
 */
export function createTrace(
  wants: (name: TraceName) => boolean = () => true,
  { onStep, now = () => performance.now() }: TraceOptions = {},
): RecordedTrace {
  const steps: Step[] = [];
  const tensors = new Map<string, tf.Tensor>();
  const matrices = new Map<string, TokenMatrix>();
  let last = now();
  return {
    steps,
    tensors,
    matrices,
    wants,
    record(name, made, layer) {
      const key = traceKey(name, layer);
      const step: Step = { name: key, axes: traceAxes[name], shape: made.shape, milliseconds: now() - last };
      steps.push(step);
      onStep?.(step);
      if ('rows' in made) matrices.set(key, made);
      if (wants(name)) {
        if (tensors.has(key)) throw new Error(`the trace already holds ${key}`);
        const tensor = tf.keep(tensorOf(made));
        try {
          shape({ [key]: tensor }, traceAxes[name]);
        } catch (error) {
          tensor.dispose();
          throw error;
        }
        tensors.set(key, tensor);
      }
      last = now(); // what this took is no step's
    },
    dispose() {
      for (const tensor of tensors.values()) tensor.dispose();
      tensors.clear();
    },
  };
}

/** A trace for who only wants to see the steps go by. */
export const watchSteps = (onStep: (step: Step) => void, options: Omit<TraceOptions, 'onStep'> = {}) =>
  createTrace(() => false, { ...options, onStep });

function tensorOf(made: Recorded): tf.Tensor {
  if (made instanceof tf.Tensor) return tf.clone(made);
  return 'rows' in made ? denseOf(made) : made.tensor();
}
