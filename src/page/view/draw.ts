/** Pictures and patch maps on small canvases. */
import { interpolateCividis } from 'd3-scale-chromatic';
import type { Picture } from '../../image/picture.ts';

/** What is laid over a picture, patch by patch. */
export interface Overlay {
  grid: number;
  /** Coloured by cividis from the least to the most, in place of the picture. */
  values?: readonly number[];
  /** These stay; the others are dimmed. */
  kept?: readonly number[];
  /** For each patch the token that it went into: those of one token in their mean colour, with a border between tokens. */
  groups?: readonly number[];
  /** Lights up. */
  lit?: number;
  /** Outlined without dimming the others. */
  outlined?: readonly number[];
}

/** @returns a picture as what a canvas takes */
function toImage({ width, height, data }: Picture): ImageData {
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    image.data.set(data.subarray(3 * i, 3 * i + 3), 4 * i);
    image.data[4 * i + 3] = 255;
  }
  return image;
}

/** As an address, for what is drawn by style. */
export const toUrl = (picture: Picture): string => canvasOf(picture).toDataURL();

const spares = new WeakMap<Picture, HTMLCanvasElement>();
/** A picture on a canvas of its own size. */
function canvasOf(picture: Picture): HTMLCanvasElement {
  let canvas = spares.get(picture);
  if (!canvas) {
    canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [picture.width, picture.height];
    canvas.getContext('2d')!.putImageData(toImage(picture), 0, 0);
    spares.set(picture, canvas);
  }
  return canvas;
}

/** Draws on all of a square canvas. */
export function drawPatches(canvas: HTMLCanvasElement, picture: Picture, overlay: Overlay): void {
  const { grid, values, kept, groups, lit, outlined } = overlay;
  const context = canvas.getContext('2d')!;
  const side = canvas.width;
  const cell = side / grid;
  const edge = (i: number) => Math.round(i * cell); // whole pixels: no seams between patches
  const cells = Array.from({ length: grid * grid }, (_, p) => [edge(p % grid), edge(Math.floor(p / grid))]);
  context.imageSmoothingEnabled = picture.width > side;
  context.clearRect(0, 0, side, side);
  if (values) {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    for (const [p, [x, y]] of cells.entries()) {
      context.fillStyle = interpolateCividis(most > least ? (values[p] - least) / (most - least) : 0);
      context.fillRect(x, y, Math.ceil(cell), Math.ceil(cell));
    }
  } else {
    context.drawImage(canvasOf(picture), 0, 0, side, side);
  }
  if (groups) fillGroups(context, groups, cells, cell);
  if (kept) {
    const stays = new Set(kept);
    context.fillStyle = 'rgb(18 22 32 / .82)';
    for (const [p, [x, y]] of cells.entries()) {
      if (!stays.has(p) && !(groups && groups[p] >= 0)) context.fillRect(x, y, cell, cell);
    }
    outline(context, kept, cells, cell, '#fff', Math.max(1, side / 160));
  }
  if (outlined) outline(context, outlined, cells, cell, '#fff', Math.max(1, side / 160));
  if (lit !== undefined && lit < cells.length)
    outline(context, [lit], cells, cell, '#ff3b30', Math.max(2, side / 60));
}

function outline(
  context: CanvasRenderingContext2D,
  patches: readonly number[],
  cells: number[][],
  cell: number,
  colour: string,
  width: number,
): void {
  context.strokeStyle = colour;
  context.lineWidth = width;
  for (const patch of patches) {
    const [x, y] = cells[patch];
    context.strokeRect(x + width / 2, y + width / 2, cell - width, cell - width);
  }
}

/** Patches of one token in the mean of their colours. */
function fillGroups(
  context: CanvasRenderingContext2D,
  groups: readonly number[],
  cells: number[][],
  cell: number,
): void {
  const side = Math.round(cell * Math.sqrt(cells.length));
  const { data } = context.getImageData(0, 0, side, side);
  const colourOf = ([x, y]: number[]) => {
    const at = (Math.floor(y + cell / 2) * side + Math.floor(x + cell / 2)) * 4;
    return [data[at], data[at + 1], data[at + 2]];
  };
  const members = new Map<number, number[]>();
  for (const [p, token] of groups.entries()) {
    if (token >= 0) members.set(token, [...(members.get(token) ?? []), p]);
  }
  for (const patches of members.values()) {
    if (patches.length < 2) continue;
    const colours = patches.map((p) => colourOf(cells[p]));
    const mean = [0, 1, 2].map((c) => colours.reduce((sum, colour) => sum + colour[c], 0) / colours.length);
    context.fillStyle = `rgb(${mean.map(Math.round).join(' ')})`;
    for (const p of patches) context.fillRect(cells[p][0], cells[p][1], cell, cell);
  }
}
