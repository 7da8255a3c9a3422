import { pick, type Random } from '../random.ts';
import { grid, letterSize, side, sizes, type Box, type SceneObject } from './things.ts';

/** An object that has no place yet. */
export type Look = Omit<SceneObject, 'box'>;
export type Corner = readonly [x: number, y: number];

/** Pixels that two boxes keep between them. */
const margin = 2;

/**
 * Gives each object a place: on the grid, inside one quadrant, apart from the others. A wished corner is taken where
 * it is possible, else one is drawn, each quadrant as likely as another.
 */
export function placeObjects(
  random: Random,
  looks: readonly Look[],
  wishes: readonly (Corner | undefined)[] = [],
): SceneObject[] {
  const placed: SceneObject[] = [];
  for (const [i, look] of looks.entries()) {
    const wish = wishes[i];
    let box = wish && boxAt(look, wish);
    while (!box || !fits(box) || placed.some((other) => touch(other.box, box!))) {
      box = boxAt(look, drawCorner(random, look));
    }
    placed.push({ ...look, box });
  }
  return placed;
}

function extent({ kind, size }: Look): readonly [number, number] {
  return kind === 'letter' ? letterSize : [sizes[size], sizes[size]];
}

function boxAt(look: Look, [x, y]: Corner): Box {
  const [width, height] = extent(look);
  return [x, y, x + width, y + height];
}

function drawCorner(random: Random, look: Look): Corner {
  const [x, y] = extent(look).map(
    (length) => pick(random, [0, side / 2]) + grid * Math.floor(random() * ((side / 2 - length) / grid + 1)),
  );
  return [x, y];
}

/** Inside the picture and not across a middle line. */
function fits([x0, y0, x1, y1]: Box): boolean {
  const inHalf = (from: number, to: number) => to <= side / 2 || (from >= side / 2 && to <= side);
  return inHalf(x0, x1) && inHalf(y0, y1);
}

function touch(a: Box, b: Box): boolean {
  return a[0] < b[2] + margin && b[0] < a[2] + margin && a[1] < b[3] + margin && b[1] < a[3] + margin;
}
