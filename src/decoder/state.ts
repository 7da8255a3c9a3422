import type * as tf from '@tensorflow/tfjs-core';
import type { TokenMatrix } from '../tensor/token-matrix.ts';

/** What a token stands for: a method that prunes between layers touches image tokens only. */
export type Role = 'text' | 'image';

/** Which of a prompt's pictures a token is of. */
export type FrameOf = number | undefined;

/** The tokens on their way through the layers. */
export type DecoderState = {
  hidden: tf.Tensor3D; // [B, T, E]
  positions: tf.Tensor2D; // [B, T] int32: the position RoPE turns each token by
  roles: Role[][]; // [B][T]
  /** Of each token the picture of its prompt that it is of, from 0, and none of text; left out where each has one. */
  frames?: FrameOf[][]; // [B][T]
  /** The previous layer's attention [B, H, T, past + T], when the hook wants it. */
  attention?: tf.Tensor4D;
};

/** A prompt ready to be run: embedded, placed, and with the position that the first new token takes. */
export type DecoderInput = DecoderState & { nextPosition: number };

/** What a cut may look at before a layer. */
export interface LayerView extends DecoderState {
  /** What the last token gives to each token in that layer, [B, H, T], were nothing cut; the caller disposes it. */
  attendFromLast(this: void): tf.Tensor3D;
}

/** Who goes through a layer, and how much of what it does to each of them counts. */
export interface LayerPass {
  /** Their places in the sequence, [B][T′], ascending: each looks at those before it. */
  places: number[][];
  /** 1 − g [B, T′, 1], of the gate g by which the layer's change counts; all of it where left out. */
  withheld?: tf.Tensor3D;
}

/** What a layer withholds from some of its tokens. */
export interface LayerLimits {
  /** In place of the causal mask, broadcast to [B, H, T, past + T]: 0 where a query may look, `MASKED` where not. */
  mask?: tf.Tensor4D;
  /** Times the attention after the softmax, broadcast to [B, H, T, past + T]: a row need not sum to 1 then. */
  weights?: tf.Tensor4D;
  /** Times each head's output, [B, H, T, 1]: 0 where a token does without it. */
  heads?: tf.Tensor4D;
  /** Times the inner neurons of the feed-forward net, [B, T, M]: 0 where a token does without one. */
  neurons?: tf.Tensor3D;
}

/**
 * What a method does between the decoder's layers while it reads one prompt and answers it. The layers after a cut, and
 * their caches, hold only what it left.
 */
export interface LayerHook {
  /** Whether `cut(layer, …)` wants the attention of layer − 1. */
  needsAttention?(layer: number): boolean;
  /**
   * Which of the picture's tokens enter a layer, and what becomes of them: W over them alone, in their order; undefined
   * where all do. Asked while the prompt is read, never when decoding. The text stays; a new token stands where the first
   * of those that its row names stood.
   */
  cut?(layer: number, view: LayerView): TokenMatrix | undefined | Promise<TokenMatrix | undefined>;
  /**
   * Which tokens go through a layer; the others pass by and are there again for the next one. All where undefined. Asked while
   * the prompt is read, never when decoding. The caller disposes its tensors.
   */
  through?(layer: number, state: DecoderState): LayerPass | undefined | Promise<LayerPass | undefined>;
  /** The position of a token of several: the first one's, or the mean of all, rounded down. */
  positions?: 'first' | 'mean';
  /**
   * For a method that leaves tokens in place but lets them do less. Called inside a tidy, which disposes its tensors.
   * @param state what enters the layer
   * @param past tokens that the layer's cache already holds: 0 at prefill, more when decoding
   */
  limit?(
    layer: number,
    state: DecoderState,
    past: number,
    sizes: { heads: number; neurons: number },
  ): LayerLimits;
}
