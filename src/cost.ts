/**
 * What a run costs on paper: multiply-accumulates of the decoder and bytes of its caches, from the tokens that each
 * layer really holds. FLOPs are twice the MACs.
 */
import type { DecoderConfig } from './decoder/config.ts';
import type { ClipVisionConfig } from './vision/config.ts';
import { gridSide, prefixTokens } from './vision/config.ts';

/**
 * MACs of one decoder layer over n tokens at once: projections 2·n·E·(H·C) + 2·n·E·(G·C), attention 2·n²·H·C (the
 * full square, as FastV's formula counts it), gated FFN 3·n·E·M.
 */
export function decoderLayerMacs(config: DecoderConfig, n: number): number {
  const { hidden_size: E, intermediate_size: M, head_dim: C } = config;
  const queryWidth = config.num_attention_heads * C;
  const keyWidth = config.num_key_value_heads * C;
  return 2 * n * E * queryWidth + 2 * n * E * keyWidth + 2 * n * n * queryWidth + 3 * n * E * M;
}

/** MACs of reading a prompt, all layers, without the output matrix. @param tokens in each layer */
export function prefillMacs(config: DecoderConfig, tokens: readonly number[]): number {
  return tokens.reduce((sum, n) => sum + decoderLayerMacs(config, n), 0);
}

/** Bytes of keys and values. @param tokens in each layer's cache */
export function cacheBytes(config: DecoderConfig, tokens: readonly number[], bytesPerValue = 4): number {
  const perToken = 2 * config.num_key_value_heads * config.head_dim * bytesPerValue;
  return tokens.reduce((sum, n) => sum + n * perToken, 0);
}

/**
 * MACs of `layers` blocks of the vision tower and of its patch embedding, for one picture.
 * @param grid patches a side, where a method shows the tower fewer than its own
 */
export function visionMacs(config: ClipVisionConfig, layers: number, grid = gridSide(config)): number {
  const { hidden_size: D, intermediate_size: M, patch_size } = config;
  const P = grid ** 2;
  const N = prefixTokens(config) + P;
  return P * 3 * patch_size ** 2 * D + layers * (4 * N * D * D + 2 * N * N * D + 2 * N * D * M);
}
