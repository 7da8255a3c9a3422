import { pick, type Random } from '../random.ts';
import { wholeFrame, type Frame } from './frame.ts';
import { grid, letterSize, sizes, type Box, type SceneObject } from './things.ts';

/** An object that has no place yet. */
export type Look = Omit<SceneObject, 'box'>;
export type Corner = readonly [x: number, y: number];

/** Pixels that two boxes keep between them. */
const margin = 2;

/**
 * Gives each object a place: on the grid, inside one quadrant of the frame, apart from the others. A wished corner is taken
 * where it is possible, else one is drawn, each quadrant as likely as another.
 */
export function placeObjects(
  random: Random,
  looks: readonly Look[],
  wishes: readonly (Corner | undefined)[] = [],
  frame: Frame = wholeFrame,
): SceneObject[] {
  const placed: SceneObject[] = [];
  for (const [i, look] of looks.entries()) {
    const wish = wishes[i];
    let box = wish && boxAt(look, wish);
    while (!box || !fits(box, frame) || placed.some((other) => touch(other.box, box!))) {
      box = boxAt(look, drawCorner(random, look, frame));
    }
    placed.push({ ...look, box });
  }
  return placed;
}

function extent({ kind, size }: Look): readonly [number, number] {
  return kind === 'letter' ? letterSize : [sizes[size], sizes[size]];
}

/** The box of an object whose upper left corner is there. */
export function boxAt(look: Look, [x, y]: Corner): Box {
  const [width, height] = extent(look);
  return [x, y, x + width, y + height];
}

/** A corner on the grid, inside one quadrant of the frame. */
export function drawCorner(random: Random, look: Look, frame: Frame): Corner {
  const [x, y] = extent(look).map((length, axis) => {
    const half = (frame[axis + 2] - frame[axis]) / 2;
    const quarter = pick(random, [0, half]);
    return frame[axis] + quarter + grid * Math.floor(random() * ((half - length) / grid + 1));
  });
  return [x, y];
}

/** Every corner of the grid where an object of a look may stand beside the others. */
export function cornersFor(look: Look, others: readonly SceneObject[], frame: Frame = wholeFrame): Corner[] {
  const along = (axis: number) =>
    Array.from(
      { length: Math.ceil((frame[axis + 2] - frame[axis]) / grid) },
      (_, i) => frame[axis] + grid * i,
    );
  return along(1)
    .flatMap((y) => along(0).map((x): Corner => [x, y]))
    .filter((corner) => {
      const box = boxAt(look, corner);
      return fits(box, frame) && !others.some((other) => touch(other.box, box));
    });
}

/** Inside the frame. */
export const fitsIn = ([x0, y0, x1, y1]: Box, frame: Frame): boolean =>
  x0 >= frame[0] && y0 >= frame[1] && x1 <= frame[2] && y1 <= frame[3];

/** Inside the frame and not across a middle line of it. */
function fits(box: Box, frame: Frame): boolean {
  return [0, 1].every((axis) => {
    const [from, to, least, most] = [box[axis], box[axis + 2], frame[axis], frame[axis + 2]];
    const middle = (least + most) / 2;
    return (from >= least && to <= middle) || (from >= middle && to <= most);
  });
}

/** Whether two boxes lie nearer than the margin. */
export function touch(a: Box, b: Box): boolean {
  return a[0] < b[2] + margin && b[0] < a[2] + margin && a[1] < b[3] + margin && b[1] < a[3] + margin;
}
