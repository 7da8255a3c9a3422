import { quadrantOf, type SceneObject } from './things.ts';

/** Names every object: `a small red circle upper-left , a blue letter k lower-right`. Five words each. */
export function captionScene({ objects }: { objects: readonly SceneObject[] }): string {
  return objects.map(describe).join(' , ');
}

function describe({ kind, letter, colour, size, box }: SceneObject): string {
  const look = kind === 'letter' ? `${colour} letter ${letter}` : `${size} ${colour} ${kind}`;
  return `a ${look} ${quadrantOf(box)}`;
}
