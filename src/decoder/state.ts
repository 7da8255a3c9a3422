import type * as tf from '@tensorflow/tfjs-core';

/** What a token stands for: a method that prunes between layers touches image tokens only. */
export type Role = 'text' | 'image';

/** The tokens on their way through the layers. */
export type DecoderState = {
  hidden: tf.Tensor3D; // [B, T, E]
  positions: tf.Tensor2D; // [B, T] int32: the position RoPE turns each token by
  roles: Role[][]; // [B][T]
  /** The previous layer's attention [B, H, T, past + T], when the hook asked for it. */
  attention?: tf.Tensor4D;
};

/** A prompt ready to be run: embedded, placed, and with the position that the first new token takes. */
export type DecoderInput = DecoderState & { nextPosition: number };

/** What a hook may ask of the layer that comes, over the state that it was given. */
export interface LayerAhead {
  /** What the last token gives to each token in that layer, [B, H, T], were nothing cut; the caller disposes it. */
  attendFromLast(this: void): tf.Tensor3D;
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
 * The cut point between layers. A decoder-side method is one of these: it sees the state before each layer and
 * returns the state that enters it, with tokens dropped, merged or moved. The layers after it, and their caches,
 * then hold only what it returned.
 */
export interface LayerHook {
  /** Whether `beforeLayer(layer, …)` wants the attention of layer − 1 in the state. */
  needsAttention(layer: number): boolean;
  /**
   * @param state the caller disposes its tensors; return the same ones or new ones
   * @param past tokens that the layer's cache already holds: 0 at prefill, more when decoding
   */
  beforeLayer(
    layer: number,
    state: DecoderState,
    past: number,
    ahead: LayerAhead,
  ): DecoderState | Promise<DecoderState>;
  /**
   * For a method that leaves tokens in place but lets them do less. Called inside a tidy, which disposes its tensors.
   * @param state what enters the layer
   */
  limit?(
    layer: number,
    state: DecoderState,
    past: number,
    sizes: { heads: number; neurons: number },
  ): LayerLimits;
}
