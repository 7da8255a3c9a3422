import * as tf from '@tensorflow/tfjs-core';

/** One layer's keys (already turned by RoPE) and values, both [B, G, past, C]. */
export interface LayerCache {
  keys: tf.Tensor4D;
  values: tf.Tensor4D;
}

/**
 * What decoding remembers: per layer, the keys and values of all tokens so far. A method that drops tokens between
 * layers leaves each layer with a length of its own.
 */
export interface KvCache {
  layers: (LayerCache | undefined)[];
  /** The last token's state after the final norm, [B, 1, E], for who reads more from it than a word; null before there is one. */
  state?: tf.Tensor3D | null;
}

/** A cache that holds nothing yet. @param keepsState whether it is to hold the last token's state */
export function createCache(keepsState = false): KvCache {
  return keepsState ? { layers: [], state: null } : { layers: [] };
}

/** Puts the last of some states [B, T, E] in place of the old one, where the cache holds it. */
export function updateState(cache: KvCache, states: tf.Tensor3D): void {
  if (cache.state === undefined) return;
  const [B, T, E] = states.shape;
  cache.state?.dispose();
  cache.state = tf.keep(tf.slice(states, [0, T - 1, 0], [B, 1, E]));
}

/** Puts a layer's extended cache in place of its old one. */
export function updateCache(cache: KvCache, layer: number, next: LayerCache): void {
  const old = cache.layers[layer];
  cache.layers[layer] = next;
  if (old) tf.dispose([old.keys, old.values]);
}

/** Tokens that each layer holds. */
export function cacheLengths(cache: KvCache): number[] {
  return cache.layers.map((layer) => layer?.keys.shape[2] ?? 0);
}
