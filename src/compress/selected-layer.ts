import { UserError } from '../errors.ts';
import type { FeatureSource } from './method.ts';

/**
 * The layer whose output is selected, for a method that reads its attention or keys.
 * @throws UserError when there is none: the features are the embedding output
 */
export function selectedLayer(source: FeatureSource, method: string): number {
  if (source.selectedLayer < 0) {
    throw new UserError(
      `${method} needs attention, but the features are the embedding output, before any layer`,
    );
  }
  return source.selectedLayer;
}

/** Of a method that asked for one layer, what it got. */
export function onlyLayer<T>(layers: Map<number, T>): T {
  const values = [...layers.values()];
  if (values.length !== 1) throw new Error(`one layer was asked for, ${values.length} are there`);
  return values[0];
}
