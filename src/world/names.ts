import { pick, type Random } from '../random.ts';
import type { SceneObject } from './things.ts';

/**
 * A name that means this object and no other of the scene, such as `small red circle`, `letter` or `red object`.
 * @param hidden an attribute that the name must not give away
 * @returns one of all such names, undefined where there is none
 */
export function nameObject(
  object: SceneObject,
  objects: readonly SceneObject[],
  random: Random,
  hidden?: 'colour' | 'kind' | 'size',
): string | undefined {
  const { kind, colour, size } = object;
  const names: string[] = [];
  for (const saidSize of kind === 'letter' || hidden === 'size' ? [''] : ['', size]) {
    for (const saidColour of hidden === 'colour' ? [''] : ['', colour]) {
      const noun = hidden === 'kind' ? 'object' : kind;
      const meant = objects.filter(
        (other) =>
          (noun === 'object' || other.kind === noun) &&
          (saidColour === '' || other.colour === saidColour) &&
          // A letter's size is not spoken of, so a size cannot rule it out.
          (saidSize === '' || other.size === saidSize || other.kind === 'letter'),
      );
      if (meant.length === 1) names.push([saidSize, saidColour, noun].filter(Boolean).join(' '));
    }
  }
  return names.length > 0 ? pick(random, names) : undefined;
}
