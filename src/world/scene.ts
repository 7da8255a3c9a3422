import { createRandom, pick, shuffle, type Random } from '../random.ts';
import { captionScene, type Naming } from './caption.ts';
import { wholeFrame, type Frame } from './frame.ts';
import { placeObjects, type Look } from './place.ts';
import { hashText, splitOf, type Split } from './split.ts';
import {
  colourNames,
  isHeldOut,
  letters,
  mostShapes,
  shapes,
  side,
  sizeNames,
  type SceneObject,
} from './things.ts';

export type { Split } from './split.ts';
export { side, type Box, type Colour, type SceneObject } from './things.ts';

/** What stands in a picture; `drawWorld` makes the picture of it. */
export interface Scene {
  /** Such as `test-000123`, or `train-family-000012-3` for a member of a family. */
  id: string;
  /** The shapes, then the letter if there is one. No two look alike. */
  objects: SceneObject[];
  /** Seed of the ground's noise, texture and clutter. */
  backgroundSeed: number;
  /** Where the picture stands in its square; all of it where left out. */
  frame?: Frame;
}

/** A scene of the test split for all to look at: three shapes and a letter, every type of question. */
export const shownScene = 332;

/**
 * The scene of an index, the same on every machine. A candidate that belongs to another split is drawn again.
 * @param index a whole number, 0 or more
 */
export function createScene(split: Split, index: number, frame: Frame = wholeFrame): Scene {
  const [x0, y0, x1, y1] = frame;
  const shape = frame === wholeFrame ? '' : `-${x1 - x0}x${y1 - y0}`;
  const draw = (random: Random) => {
    const objects = placeObjects(random, drawLooks(random, split), [], frame);
    return splitOf(objects) === split ? objects : undefined;
  };
  return drawUntil(`${split}-${number6(index)}${shape}`, draw, frame);
}

/**
 * Scenes that are hard to tell apart: they share colours, sizes and often places, and differ in which shape has which
 * of them, and in the letter. Captions differ within a family.
 */
export function createFamily(split: Split, index: number, size = 8, naming: Naming = 'all'): Scene[] {
  const members: Scene[] = [];
  const captions = new Set<string>();
  for (let member = 0; member < size; member++) {
    const scene = drawUntil(`${split}-family-${number6(index)}-${member}`, (random) => {
      const first = members.at(0)?.objects;
      const looks = first ? varyLooks(random, first) : drawLooks(random, split);
      if (!looks) return undefined;
      const objects = placeObjects(random, looks, first && drawWishes(random, first));
      const isNew = splitOf(objects) === split && !captions.has(captionScene({ objects }, naming));
      return isNew ? objects : undefined;
    });
    members.push(scene);
    captions.add(captionScene(scene, naming));
  }
  return members;
}

/**
 * Which patches an object's box covers, be it by one pixel.
 * @param patch side of a patch, pixels
 * @returns row after row, [(side / patch)²]
 */
export function objectPatches({ objects }: Pick<Scene, 'objects'>, patch: number): boolean[] {
  const across = side / patch;
  return Array.from({ length: across * across }, (_, i) => {
    const [x, y] = [(i % across) * patch, Math.floor(i / across) * patch];
    return objects.some(({ box: [x0, y0, x1, y1] }) => x0 < x + patch && x < x1 && y0 < y + patch && y < y1);
  });
}

function drawUntil(
  id: string,
  draw: (random: Random) => SceneObject[] | undefined,
  frame: Frame = wholeFrame,
): Scene {
  for (let attempt = 0; ; attempt++) {
    const random = createRandom(hashText(`${id} ${attempt}`));
    const objects = draw(random);
    if (objects) return { id, objects, backgroundSeed: Math.floor(random() * 2 ** 32), frame };
  }
}

const number6 = (index: number): string => String(index).padStart(6, '0');

/** 1 to {@link mostShapes} shapes, and with probability ½ a letter. One pair is held out, or none is, as the split has it. */
function drawLooks(random: Random, split: Split): Look[] {
  const looks: Look[] = [];
  const count = 1 + Math.floor(random() * mostShapes);
  while (looks.length < count) {
    const colour = pick(random, colourNames);
    const look: Look = { kind: pick(random, shapes), colour, size: pick(random, sizeNames) };
    const wanted = split === 'heldout' && looks.length === 0;
    if (isHeldOut(look) === wanted && !looks.some((other) => alike(other, look))) looks.push(look);
  }
  if (random() < 0.5) {
    const colour = pick(random, colourNames);
    looks.push({ kind: 'letter', letter: pick(random, letters), colour, size: 'large' });
  }
  return looks;
}

/** A family's next member: the first one's attributes, handed round and partly drawn again. */
function varyLooks(random: Random, first: readonly SceneObject[]): Look[] | undefined {
  const oneInTwo = () => random() < 0.5;
  const handRound = <T>(values: T[]): T[] => (oneInTwo() ? shuffle(random, values) : values);
  const colours = handRound(first.map(({ colour }) => colour));
  const sizes = handRound(first.filter(({ kind }) => kind !== 'letter').map(({ size }) => size));
  // One member in two has a colour or a size of its own: otherwise neither would ever decide within a family.
  if (oneInTwo()) {
    if (oneInTwo()) colours[pick(random, [...colours.keys()])] = pick(random, colourNames);
    else sizes[pick(random, [...sizes.keys()])] = pick(random, sizeNames);
  }
  const looks = first.map(({ kind, letter }, i): Look => {
    const colour = colours[i];
    if (kind !== 'letter') {
      return { kind: oneInTwo() ? pick(random, shapes) : kind, colour, size: sizes[i] };
    }
    return { kind, letter: oneInTwo() ? pick(random, letters) : letter, colour, size: 'large' };
  });
  return looks.some((look, i) => looks.slice(0, i).some((other) => alike(other, look))) ? undefined : looks;
}

/** The first member's corners, in half of all cases handed round; one in four is given up. */
function drawWishes(random: Random, first: readonly SceneObject[]) {
  const corners = first.map(({ box: [x, y] }) => [x, y] as const);
  const wished = random() < 0.5 ? shuffle(random, corners) : corners;
  return wished.map((corner) => (random() < 0.25 ? undefined : corner));
}

/** Nothing that one could say tells them apart but their place. */
function alike(a: Look, b: Look): boolean {
  return a.kind === b.kind && a.colour === b.colour && a.size === b.size;
}
