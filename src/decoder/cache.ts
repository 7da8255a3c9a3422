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
}

/** A cache that holds nothing yet. */
export function createCache(): KvCache {
  return { layers: [] };
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
