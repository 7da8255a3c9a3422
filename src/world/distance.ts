import type { Letter, SceneObject, Shape } from './things.ts';

/** Signed distance in pixels from (x, y) to a figure's edge, negative inside; (0, 0) is the middle of its box. */
export type Distance = (x: number, y: number) => number;

// Only + − × ÷ and √, which every machine rounds alike; Math.hypot and the sines are not promised to.
const length = (x: number, y: number): number => Math.sqrt(x * x + y * y);

function toBox(x: number, y: number, halfWidth: number, halfHeight: number): number {
  const dx = Math.abs(x) - halfWidth;
  const dy = Math.abs(y) - halfHeight;
  return length(Math.max(dx, 0), Math.max(dy, 0)) + Math.min(Math.max(dx, dy), 0);
}

/** Distance to the segment from (ax, ay) to (bx, by). */
export function toSegment(x: number, y: number, [ax, ay, bx, by]: Segment): number {
  const dx = bx - ax;
  const dy = by - ay;
  const along = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1); // a point may be a segment too
  const t = Math.min(1, Math.max(0, along));
  return length(x - ax - t * dx, y - ay - t * dy);
}

export type Segment = readonly [ax: number, ay: number, bx: number, by: number];

/** Figures that fill a box of side 2r. */
const figures: Record<Shape, (r: number) => Distance> = {
  circle: (r) => (x, y) => length(x, y) - r,
  square: (r) => (x, y) => toBox(x, y, 0.88 * r, 0.88 * r),
  // Three half-planes: below the apex's two sides (slope 2), above the base.
  triangle: (r) => (x, y) => Math.max(y - r, (2 * Math.abs(x) - (y + r)) / Math.sqrt(5)),
  cross: (r) => (x, y) => Math.min(toBox(x, y, r, 0.3 * r), toBox(x, y, 0.3 * r, r)),
  ring: (r) => (x, y) => Math.abs(length(x, y) - 0.74 * r) - 0.26 * r,
};

/** Strokes in a box of 10 × 12 pixels, from its middle; a stroke is 2 wide. */
// prettier-ignore
const strokes: Record<Letter, Segment[]> = {
  e: [[-3, -5, -3, 5], [-3, -5, 4, -5], [-3, 0, 3, 0], [-3, 5, 4, 5]],
  h: [[-4, -5, -4, 5], [4, -5, 4, 5], [-4, 0, 4, 0]],
  k: [[-3, -5, -3, 5], [4, -5, -3, 1], [-1, -1, 4, 5]],
  l: [[-3, -5, -3, 5], [-3, 5, 4, 5]],
  n: [[-4, -5, -4, 5], [-4, -5, 4, 5], [4, -5, 4, 5]],
  v: [[-4, -5, 0, 5], [0, 5, 4, -5]],
  y: [[-4, -5, 0, 0], [4, -5, 0, 0], [0, 0, 0, 5]],
  z: [[-4, -5, 4, -5], [4, -5, -4, 5], [-4, 5, 4, 5]],
};

/** The figure of an object, around the middle of its box. */
export function distanceTo({ kind, letter, box }: SceneObject): Distance {
  if (kind !== 'letter') return figures[kind]((box[2] - box[0]) / 2);
  const segments = strokes[letter!];
  return (x, y) => {
    let nearest = Infinity;
    for (const segment of segments) nearest = Math.min(nearest, toSegment(x, y, segment));
    return nearest - 1;
  };
}
