import type { Random } from '../random.ts';
import { captionScene, namings, type Naming } from '../world/caption.ts';
import { side, type Scene, type SceneObject } from '../world/scene.ts';
import { colourNames, isHeldOut, letters, shapes, sizeNames } from '../world/things.ts';

/** An object with one attribute changed, never to a pair that is held out; undefined where it has no such attribute. */
type Change = (object: SceneObject, random: Random) => SceneObject | undefined;

export const changes: Record<'colour' | 'shape' | 'size' | 'quadrant' | 'letter', Change> = {
  colour: (object, random) => {
    const possible = colourNames.filter((colour) => !isHeldOut({ ...object, colour }));
    return { ...object, colour: another(possible, object.colour, random) };
  },
  shape: (object, random) => {
    if (object.kind === 'letter') return undefined;
    const possible = shapes.filter((kind) => !isHeldOut({ ...object, kind }));
    return { ...object, kind: another(possible, object.kind, random) };
  },
  size: (object, random) =>
    object.kind === 'letter' ? undefined : { ...object, size: another(sizeNames, object.size, random) },
  quadrant: ({ box: [x0, y0, x1, y1], ...object }, random) =>
    random() < 0.5
      ? { ...object, box: [side - x1, y0, side - x0, y1] }
      : { ...object, box: [x0, side - y1, x1, side - y0] },
  letter: (object, random) =>
    object.letter === undefined ? undefined : { ...object, letter: another(letters, object.letter, random) },
};

/**
 * A caption that is wrong by one word: the hardest negative of all, since nothing but that attribute tells it from the
 * true one (Yuksekgonul et al., 2210.01936, train CLIP with such).
 * @returns undefined where no object that is named has the attribute
 */
export function changeCaption(
  { objects }: Scene,
  attribute: keyof typeof changes,
  random: Random,
  naming: Naming = 'all',
): string | undefined {
  const change = changes[attribute];
  const named = namings[naming](objects);
  const able = [...named.keys()].filter((i) => change(named[i], random) !== undefined);
  if (able.length === 0) return undefined;
  const i = able[Math.floor(random() * able.length)];
  return captionScene({ objects: named.with(i, change(named[i], random)!) });
}

/** Captions that are each wrong by one word, of an attribute at random. */
export function drawWrongCaptions(scene: Scene, count: number, random: Random, naming?: Naming): string[] {
  const attributes = Object.keys(changes) as (keyof typeof changes)[];
  const wrong: string[] = [];
  while (wrong.length < count) {
    const attribute = attributes[Math.floor(random() * attributes.length)];
    const caption = changeCaption(scene, attribute, random, naming);
    if (caption !== undefined) wrong.push(caption);
  }
  return wrong;
}

const another = <T>(values: readonly T[], value: T, random: Random): T => {
  const i = values.indexOf(value) + 1 + Math.floor(random() * (values.length - 1));
  return values[i % values.length];
};
