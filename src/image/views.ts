/**
 * LLaVA-NeXT's picture is several: a thumbnail of the whole, and crops of it larger, each a picture to the vision tower. All
 * that follows from sizes is here: which resolution, which crops, and which of their patches the decoder reads.
 *
 *     size ─ chooseResolution ─▶ h × w crops of S × S      the picture, enlarged or reduced into them, black around it
 *     [thumbnail | crops, row by row]                      V = 1 + h·w views, of P = G² patches each
 *     patches read: P + R·C                                the thumbnail's; then the crops' as one grid of h·G × w·G,
 *                                                          without the rows or columns that lie in the black: R × C
 *
 * As transformers 5.18 does (select_best_resolution, get_image_patches, unpad_image), to the last patch.
 */
import { UserError } from '../errors.ts';
import { MAX_PIXELS, paste, type Picture, type Sides } from './picture.ts';
import { resizeBicubic } from './resize.ts';

/** Which patches of a view the decoder reads, in raster order, and their numbers among the picture's P + R·C. */
export interface ViewPatches {
  /** In the view, 0 .. P − 1. */
  patches: number[];
  /** In the picture: 0 .. P − 1 are the thumbnail's, P + r·C + c is in row r and column c of the crops' grid. */
  places: number[];
}

/** How a picture of one size is seen. */
export interface Views {
  /** The pixels that the crops cut up. */
  resolution: Sides;
  /** h × w, how many crops. */
  crops: { rows: number; columns: number };
  /** G, patches a side of each view. */
  grid: number;
  /** R × C, the crops' patches that are not wholly in the padding. */
  rows: number;
  columns: number;
  /** The thumbnail's, then the crops', [V]. */
  views: ViewPatches[];
}

/** transformers' `image_grid_pinpoints` where a file names none, [height, width]. */
const usual = [
  [336, 672],
  [672, 336],
  [672, 672],
  [1008, 336],
  [336, 1008],
];

/**
 * The resolutions that a checkpoint's crops may cut up, from `image_grid_pinpoints`.
 * @param side S, of each crop
 * @throws UserError for anything but pairs [height, width] of multiples of S
 */
export function parsePinpoints(value: unknown, side: number, file: string): Sides[] {
  const pairs = value ?? usual;
  const fits = (x: unknown) => Number.isSafeInteger(x) && Number(x) > 0 && Number(x) % side === 0;
  const isPair = (pair: unknown): pair is [number, number] =>
    Array.isArray(pair) && pair.length === 2 && pair.every(fits) && pair[0] * pair[1] <= MAX_PIXELS;
  if (Array.isArray(pairs) && pairs.length > 0 && pairs.length <= 1000) {
    const bad = pairs.findIndex((pair) => !isPair(pair));
    if (bad < 0) return (pairs as [number, number][]).map(([height, width]) => ({ width, height }));
    throw new UserError(
      `${file}: image_grid_pinpoints[${bad}] is ${JSON.stringify(pairs[bad])}, should be [height, width] in multiples of ${side}, ` +
        `of at most ${MAX_PIXELS} pixels`,
    );
  }
  throw new UserError(`${file}: image_grid_pinpoints should be a list of 1 to 1000 pairs [height, width]`);
}

/**
 * The resolution that shows most of a picture: the largest effective one, min(the picture fitted into it, the picture), and
 * of equal ones that which wastes least of its own pixels; of equal ones still the first.
 * @throws UserError for a picture so thin that nothing is left of it in any
 */
export function chooseResolution({ width, height }: Sides, pinpoints: readonly Sides[]): Sides {
  let best: { to: Sides; effective: number; wasted: number } | undefined;
  for (const to of pinpoints) {
    const scale = Math.min(to.width / width, to.height / height);
    const fitted = Math.trunc(width * scale) * Math.trunc(height * scale);
    const effective = Math.min(fitted, width * height);
    const wasted = to.width * to.height - effective;
    const most = best?.effective ?? 0;
    if (effective > most || (best && effective === most && wasted < best.wasted)) {
      best = { to, effective, wasted };
    }
  }
  if (best) return best.to;
  throw new UserError(
    `a picture of ${width} × ${height} pixels is too thin: less than a pixel of it is left in each of the checkpoint's resolutions`,
  );
}

/** What a picture becomes in a resolution: one side as long as that, the other rounded up. */
export function fittedSize({ width, height }: Sides, to: Sides): Sides {
  const [across, down] = [to.width / width, to.height / height];
  return across < down
    ? { width: to.width, height: Math.min(Math.ceil(height * across), to.height) }
    : { width: Math.min(Math.ceil(width * down), to.width), height: to.height };
}

/**
 * The crops, row by row, each S × S: the picture resized into its resolution, as near its middle as whole pixels let it be,
 * black around it.
 */
export function cutCrops(picture: Picture, pinpoints: readonly Sides[], S: number): Picture[] {
  const to = chooseResolution(picture, pinpoints);
  const { width, height } = fittedSize(picture, to);
  const fitted = resizeBicubic(picture, width, height);
  const left = Math.floor((to.width - width) / 2);
  const top = Math.floor((to.height - height) / 2);
  const crops: Picture[] = [];
  for (let y = 0; y < to.height; y += S) {
    for (let x = 0; x < to.width; x += S) {
      const ground = { width: S, height: S, data: new Uint8Array(S * S * 3) };
      crops.push(paste(fitted, ground, left - x, top - y));
    }
  }
  return crops;
}

/**
 * How a picture of some size is seen.
 * @param size after the orientation is applied
 * @param S pixels a side of each view, @param G patches
 */
export function layOutViews(size: Sides, pinpoints: readonly Sides[], S: number, G: number): Views {
  const resolution = chooseResolution(size, pinpoints);
  const crops = { rows: resolution.height / S, columns: resolution.width / S };
  const whole = { width: crops.columns * G, height: crops.rows * G }; // in patches
  const padding = paddingOf(size, whole);
  const [R, C] = [whole.height - 2 * padding.rows, whole.width - 2 * padding.columns];
  const all = Array.from({ length: G * G }, (_, p) => p);
  const views: ViewPatches[] = [{ patches: all, places: all }];
  for (let crop = 0; crop < crops.rows * crops.columns; crop++) {
    const top = Math.floor(crop / crops.columns) * G - padding.rows;
    const left = (crop % crops.columns) * G - padding.columns;
    const rowOf = (p: number) => top + Math.floor(p / G);
    const columnOf = (p: number) => left + (p % G);
    const patches = all.filter((p) => rowOf(p) >= 0 && rowOf(p) < R && columnOf(p) >= 0 && columnOf(p) < C);
    views.push({ patches, places: patches.map((p) => G * G + rowOf(p) * C + columnOf(p)) });
  }
  return { resolution, crops, grid: G, rows: R, columns: C, views };
}

/**
 * How many rows of patches above and below, or columns left and right, hold nothing of the picture. Python's
 * `int(round(x, 7))` is toFixed and trunc: both round the exact value, and no tie lies next to a whole number.
 */
function paddingOf(size: Sides, whole: Sides): { rows: number; columns: number } {
  const scaled = (side: number, scale: number) => Math.trunc(Number((side * scale).toFixed(7)));
  if (size.width / size.height > whole.width / whole.height) {
    const filled = scaled(size.height, whole.width / size.width);
    return { rows: Math.floor((whole.height - filled) / 2), columns: 0 };
  }
  const filled = scaled(size.width, whole.height / size.height);
  return { rows: 0, columns: Math.floor((whole.width - filled) / 2) };
}

/** P + R·C, how many patches of a picture the decoder reads where none is dropped. */
export const countPatches = ({ grid, rows, columns }: Views): number => grid ** 2 + rows * columns;
