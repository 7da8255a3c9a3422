import { quadrantOf, type SceneObject } from './things.ts';

/** Which of a scene's objects captions name. */
export const namings = {
  all: (objects: readonly SceneObject[]): readonly SceneObject[] => objects,
  /** What strikes the eye, as captions of the web do: what is large, letters too; what is small where all is. */
  salient: (objects: readonly SceneObject[]): readonly SceneObject[] => {
    const large = objects.filter(({ size }) => size === 'large');
    return large.length > 0 ? large : objects;
  },
};
export type Naming = keyof typeof namings;

/** Names objects: `a small red circle upper-left , a blue letter k lower-right`. Five words each. */
export function captionScene(
  { objects }: { objects: readonly SceneObject[] },
  naming: Naming = 'all',
): string {
  return namings[naming](objects).map(describe).join(' , ');
}

function describe({ kind, letter, colour, size, box }: SceneObject): string {
  const look = kind === 'letter' ? `${colour} letter ${letter}` : `${size} ${colour} ${kind}`;
  return `a ${look} ${quadrantOf(box)}`;
}
