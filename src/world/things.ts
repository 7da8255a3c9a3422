/** What a scene is made of: every name and every size that the drawings, captions and questions share. */

/** Pixels of a scene's side. With patches of 8 pixels it is cut into 10 × 10. */
export const side = 80;

/** Corners of objects lie on multiples of this many pixels: those of the patches. Finer grids take far longer to learn. */
export const grid = 8;

/** A scene has 1 to so many shapes, and half of all scenes a letter besides. */
export const mostShapes = 3;

export const shapes = ['circle', 'square', 'triangle', 'cross', 'ring'] as const;
export type Shape = (typeof shapes)[number];

/** Letters of straight strokes, none like a shape. */
export const letters = ['e', 'h', 'k', 'l', 'n', 'v', 'y', 'z'] as const;
export type Letter = (typeof letters)[number];

/** RGB, near the corners of the cube and so far from each other and from the grey ground. */
export const colours = {
  red: [225, 30, 30],
  green: [30, 175, 50],
  blue: [35, 60, 230],
  yellow: [240, 220, 30],
  cyan: [40, 215, 230],
  pink: [240, 60, 200],
  white: [245, 245, 245],
  black: [20, 20, 20],
} as const;
export type Colour = keyof typeof colours;
export const colourNames = Object.keys(colours) as Colour[];

/**
 * Pairs that no scene of training, validation or test shows and no text of theirs names, one for each shape: what a
 * model knows of them it has put together from their halves.
 */
const heldOut: Record<Shape, Colour> = {
  circle: 'yellow',
  square: 'blue',
  triangle: 'pink',
  cross: 'green',
  ring: 'white',
};

/** Whether it is a shape in the colour that is held out for it. */
export function isHeldOut({ kind, colour }: Pick<SceneObject, 'kind' | 'colour'>): boolean {
  return kind !== 'letter' && heldOut[kind] === colour;
}

/** Pixels of a shape's side. */
export const sizes = { small: 8, large: 12 } as const;
export type Size = keyof typeof sizes;
export const sizeNames = Object.keys(sizes) as Size[];

/** Width and height of a letter, pixels. */
export const letterSize = [10, 12] as const;

/** [x0, y0, x1, y1] in pixels, x1 and y1 just outside. */
export type Box = readonly [number, number, number, number];

export interface SceneObject {
  kind: Shape | 'letter';
  /** Of a letter only. */
  letter?: Letter;
  colour: Colour;
  /** A letter has one size, called large; nobody speaks of it. */
  size: Size;
  box: Box;
}

export const quadrants = ['upper-left', 'upper-right', 'lower-left', 'lower-right'] as const;
export type Quadrant = (typeof quadrants)[number];

/** The quarter of the picture that holds the box; no object lies across the middle lines. */
export function quadrantOf([x0, y0]: Box): Quadrant {
  return quadrants[(y0 >= side / 2 ? 2 : 0) + (x0 >= side / 2 ? 1 : 0)];
}
