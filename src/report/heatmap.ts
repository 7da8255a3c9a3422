import type { PreprocessConfig } from '../image/preprocess.ts';
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

/**
 * The pixels that the model saw, back as a picture: after resizing and cropping, before normalisation.
 * @param pixels [S, S, 3]
 */
export function showPixels(pixels: Float32Array, side: number, config: PreprocessConfig): Picture {
  const { mean, std } = config.normalize ?? { mean: [0, 0, 0], std: [1, 1, 1] };
  const unit = config.rescale ?? 1 / 255;
  const data = Uint8Array.from(pixels, (x, i) =>
    Math.round(Math.min(Math.max((x * std[i % 3] + mean[i % 3]) / unit, 0), 255)),
  );
  return { width: side, height: side, data };
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
  const factor = Math.max(1, Math.ceil(224 / picture.width));
  const base = enlarge(picture, factor);
  const large = { ...patches, patch: patches.patch * factor };
  const [side, gap, titleHeight] = [base.width, 12, 28];
  const columns = Math.min(perRow, panels.length);
  const rows = Math.ceil(panels.length / columns);
  const sheet = blank(columns * (side + gap) + gap, rows * (side + titleHeight + gap) + gap);
  for (const [i, panel] of panels.entries()) {
    const x = gap + (i % columns) * (side + gap);
    const y = gap + Math.floor(i / columns) * (side + titleHeight + gap);
    paste(await drawLabel(panel.title, side, titleHeight), sheet, x, y);
    paste(drawPanel(base, large, panel), sheet, x, y + titleHeight);
  }
  return sheet;
}

function drawPanel(base: Picture, { grid, patch }: PatchGrid, { values, kept }: Panel): Picture {
  /** The index of the patch that a pixel belongs to, −1 beyond the grid. */
  const patchAt = (x: number, y: number) => {
    const [column, row] = [Math.floor(x / patch), Math.floor(y / patch)];
    return column < grid && row < grid ? row * grid + column : -1;
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
      if (stays.has(patchAt(x, y))) return [...rgb];
      const grey = 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2];
      return [0.2 * grey, 0.2 * grey, 0.2 * grey];
    });
  }
  return base;
}
