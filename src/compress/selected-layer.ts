import { UserError } from '../errors.ts';
import type { Source } from './method.ts';

/**
 * The layer whose output is selected, for a method that reads its attention or keys.
 * @throws UserError when there is none: the features are the embedding output
 */
export function selectedLayer({ selectedLayer: layer }: Source, method: string): number {
  if (layer >= 0) return layer;
  throw new UserError(
    `${method} needs attention, but the features are the embedding output, before any layer`,
  );
}

/**
 * The same, for a method that reads what [CLS] attends to.
 * @throws UserError also for a tower without [CLS]
 */
export function clsLayer(source: Source, method: string): number {
  checkCls(source, method);
  return selectedLayer(source, method);
}

/** @throws UserError for a method that reads what [CLS] attends to, and a tower without one */
export function checkCls({ prefixTokens }: Source, method: string): void {
  if (prefixTokens === 1) return;
  throw new UserError(
    `${method} needs the attention of [CLS], but this vision tower has no such token: ` +
      'divprune, fopru, random, uniform and fastv do without',
  );
}

/** @throws UserError for a method that must have its features from one layer, and a checkpoint that joins several */
export function oneFeatureLayer({ featureLayers: layers }: Source, method: string): void {
  if (layers.length === 1) return;
  throw new UserError(
    `${method} needs the features of one layer, but this checkpoint joins hidden ${layers.join(', ')}`,
  );
}

/**
 * G, for a method that looks at where patches stand.
 * @throws UserError where a method before it has chosen among them
 */
export function gridOf({ grid, patches }: Source, method: string): number {
  if (grid !== undefined) return grid;
  throw new UserError(
    `${method} needs the picture's whole grid, but the ${patches} tokens that come to it are a choice of another method`,
  );
}

/** Of a method that needed one layer, what it got. */
export function onlyLayer<T>(layers: Map<number, T>): T {
  const values = [...layers.values()];
  if (values.length !== 1) throw new Error(`one layer was asked for, ${values.length} are there`);
  return values[0];
}
