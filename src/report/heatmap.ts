import { paste, type Picture } from '../image/picture.ts';
import { blank, enlarge, mapPixels } from './canvas.ts';
import { drawLabel } from './labels.ts';

/** One square of the sheet: the picture, with each patch's value laid over it or the patches not kept dimmed. */
export interface Panel {
  title: string;
  /** P values, laid over in colour. */
  values?: readonly number[];
  /** The patches that stay; the others are dimmed. */
  kept?: readonly number[];
  /** For each of P patches which token it went into, −1 for none: those of one token in their mean colour, with a border. */
  groups?: readonly number[];
  /** Words across the picture, for what patches cannot show. */
  sign?: string;
  /** Lines under the picture. */
  notes?: readonly string[];
}

/** Black, purple, red, orange, yellow: a colour scale whose brightness rises evenly. */
const stops = [
  [0, 0, 4],
  [87, 16, 110],
  [188, 55, 84],
  [249, 142, 9],
  [252, 255, 164],
];

/** @param t 0 to 1 */
export function heatColour(t: number): number[] {
  const place = Math.min(Math.max(t, 0), 1) * (stops.length - 1);
  const i = Math.min(Math.floor(place), stops.length - 2);
  return stops[i].map((from, c) => from + (stops[i + 1][c] - from) * (place - i));
}

/** How patches lie on the picture: so many a side, each of so many pixels. A rest beyond them belongs to none. */
export interface PatchGrid {
  grid: number;
  patch: number;
}

/**
 * Lays panels out side by side under their titles, at most `perRow` in a row.
 * @param picture what the model saw, square
 */
export async function drawSheet(
  picture: Picture,
  patches: PatchGrid,
  panels: Panel[],
  perRow = 4,
): Promise<Picture> {
  const [gap, titleHeight, noteHeight] = [12, 28, 22];
  const squares = await Promise.all(panels.map((panel) => drawSquare(picture, patches, panel)));
  const side = squares[0].width;
  const lines = Math.max(...panels.map(({ notes = [] }) => notes.length));
  const height = titleHeight + side + lines * noteHeight;
  const columns = Math.min(perRow, panels.length);
  const rows = Math.ceil(panels.length / columns);
  const sheet = blank(columns * (side + gap) + gap, rows * (height + gap) + gap);
  for (const [i, { title, notes = [] }] of panels.entries()) {
    const x = gap + (i % columns) * (side + gap);
    const y = gap + Math.floor(i / columns) * (height + gap);
    paste(await drawLabel(title, side, titleHeight), sheet, x, y);
    paste(squares[i], sheet, x, y + titleHeight);
    for (const [line, note] of notes.entries()) {
      paste(await drawLabel(note, side, noteHeight), sheet, x, y + titleHeight + side + line * noteHeight);
    }
  }
  return sheet;
}

/** By how much a picture is enlarged to be looked at. */
export const largeEnough = ({ width }: Pick<Picture, 'width'>): number => Math.max(1, Math.ceil(224 / width));

/** One panel without its words around, large enough to be looked at. */
export async function drawSquare(
  picture: Picture,
  { grid, patch }: PatchGrid,
  panel: Omit<Panel, 'title' | 'notes'>,
): Promise<Picture> {
  const factor = largeEnough(picture);
  const square = drawPanel(enlarge(picture, factor), { grid, patch: patch * factor }, panel);
  if (panel.sign === undefined) return square;
  const band = 30;
  const label = await drawLabel(panel.sign, square.width, band);
  return paste(label, square, 0, Math.floor((square.height - band) / 2));
}

function drawPanel(
  base: Picture,
  { grid, patch }: PatchGrid,
  { values, kept, groups }: Omit<Panel, 'title'>,
): Picture {
  /** The index of the patch that a pixel belongs to, −1 beyond the grid. */
  const patchAt = (x: number, y: number) => {
    const [column, row] = [Math.floor(x / patch), Math.floor(y / patch)];
    return Math.min(column, row) >= 0 && Math.max(column, row) < grid ? row * grid + column : -1;
  };
  if (values) {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const colours = values.map((value) => heatColour((value - low) / (high - low || 1)));
    return mapPixels(base, (rgb, x, y) => {
      const colour = colours[patchAt(x, y)] ?? rgb;
      return [0, 1, 2].map((c) => 0.35 * rgb[c] + 0.65 * colour[c]);
    });
  }
  if (kept) {
    const stays = new Set(kept);
    return mapPixels(base, (rgb, x, y) => {
      return stays.has(patchAt(x, y)) ? [...rgb] : dim(rgb);
    });
  }
  if (groups) {
    const groupAt = (x: number, y: number) => groups[patchAt(x, y)] ?? -1;
    const means = meanColours(base, groupAt);
    const alone = (group: number) => groups.indexOf(group) === groups.lastIndexOf(group);
    return mapPixels(base, (rgb, x, y) => {
      const group = groupAt(x, y);
      if (groupAt(x - 1, y) !== group || groupAt(x, y - 1) !== group) return [0, 0, 0];
      if (group < 0) return dim(rgb);
      return alone(group) ? [...rgb] : means.get(group)!;
    });
  }
  return base;
}

/** Dark and without colour. */
function dim(rgb: Uint8Array): number[] {
  const grey = 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2];
  return [0.2 * grey, 0.2 * grey, 0.2 * grey];
}

function meanColours(
  { width, height, data }: Picture,
  groupAt: (x: number, y: number) => number,
): Map<number, number[]> {
  const sums = new Map<number, number[]>(); // red, green, blue, count
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const group = groupAt(x, y);
      const sum = sums.get(group) ?? [0, 0, 0, 0];
      sums.set(group, sum);
      for (let c = 0; c < 3; c++) sum[c] += data[(y * width + x) * 3 + c];
      sum[3]++;
    }
  }
  return new Map([...sums].map(([group, [r, g, b, count]]) => [group, [r / count, g / count, b / count]]));
}
