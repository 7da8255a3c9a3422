import { isHeldOut, type SceneObject } from './things.ts';

export type Split = (typeof splits)[number];
export const splits = ['train', 'validation', 'test', 'heldout'] as const;

/** FNV-1a of the text, then MurmurHash3's finalizer: 32 bits, the same on every machine. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The objects as text, whatever their order. Scenes that differ in the ground alone are one scene. */
export function sceneKey(objects: readonly SceneObject[]): string {
  return objects
    .map(({ kind, letter, colour, size, box }) => [letter ?? kind, colour, size, ...box].join(' '))
    .sort()
    .join(', ');
}

/**
 * The split that a scene belongs to: with a pair that is held out, that of its kind; of the others 8 of 10 train, 1
 * validation, 1 test. The objects alone decide, so that no two splits share a scene, however many are drawn.
 */
export const splitOf = (objects: readonly SceneObject[]): Split =>
  splitOfKey(sceneKey(objects), objects.some(isHeldOut));

/** The same of anything that a text tells whole. @param heldOut whether it shows a pair that is held out */
export function splitOfKey(key: string, heldOut: boolean): Split {
  if (heldOut) return 'heldout';
  const tenth = hashText(key) % 10;
  return tenth < 8 ? 'train' : tenth === 8 ? 'validation' : 'test';
}
