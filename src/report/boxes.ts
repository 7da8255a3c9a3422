import type { Picture } from '../image/picture.ts';
import { enlarge, mapPixels } from './canvas.ts';
import { largeEnough } from './heatmap.ts';

/**
 * A picture, large enough to be looked at, with boxes around what they mean: black with a white line on either side, which
 * shows on any ground.
 * @param boxes (x0, y0, x1, y1) in shares of width and height; the line lies outside
 */
export function drawBoxes(picture: Picture, boxes: readonly (readonly number[])[]): Picture {
  const large = enlarge(picture, largeEnough(picture));
  const { width, height } = large;
  const edges = boxes.map(([x0, y0, x1, y1]) => [x0 * width, y0 * height, x1 * width, y1 * height]);
  return mapPixels(large, (rgb, x, y) => {
    const distances = edges.map((edge) => distanceOutside(edge, x + 0.5, y + 0.5)).filter((d) => d > 0);
    const nearest = Math.min(Infinity, ...distances);
    if (nearest > 3) return [...rgb];
    return nearest > 1 && nearest <= 2 ? [0, 0, 0] : [255, 255, 255];
  });
}

/** Pixels from a box to a point outside it, by the larger of both axes; 0 or less inside. */
const distanceOutside = ([x0, y0, x1, y1]: readonly number[], x: number, y: number): number =>
  Math.max(x0 - x, x - x1, y0 - y, y - y1);
