import type { LlamaBlockWeights } from './weights.ts';

/** A decoder's layers where they do not all lie in memory. */
export interface LayerStream {
  /** A layer's weights; whoever takes them disposes them. */
  take(this: void, layer: number): Promise<LlamaBlockWeights>;
  /** Frees what was read ahead. */
  close(this: void): Promise<void>;
}
