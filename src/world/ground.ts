import type { Random } from '../random.ts';
import { toSegment, type Distance } from './distance.ts';
import { side, type Box } from './things.ts';

/**
 * What no question asks about: a grey of its own tint, a slope, faint stripes, and a clutter of dots and strokes in
 * other greys.
 * @returns [side, side, 3], about 128
 */
export function drawGround(random: Random): Float32Array {
  const between = (least: number, most: number) => least + (most - least) * random();
  const level = between(115, 141);
  const tint = [between(-6, 6), between(-6, 6), between(-6, 6)];
  const slope = [between(-0.15, 0.15), between(-0.15, 0.15)];
  const waves = [between(-0.12, 0.12), between(-0.12, 0.12)]; // stripes a pixel
  const depth = between(2, 7);

  const canvas = new Float32Array(side * side * 3);
  for (let y = 0, i = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const phase = waves[0] * x + waves[1] * y;
      const stripe = 4 * Math.abs(phase - Math.floor(phase) - 0.5) - 1; // a triangle wave between −1 and 1
      const grey = level + slope[0] * (x - side / 2) + slope[1] * (y - side / 2) + depth * stripe;
      canvas[i++] = grey + tint[0];
      canvas[i++] = grey + tint[1];
      canvas[i++] = grey + tint[2];
    }
  }

  for (let n = 0; n < 14; n++) {
    const reach = n < 8 ? 0 : 12; // eight dots, six strokes
    const [x, y] = [between(0, side), between(0, side)];
    const [toX, toY] = [x + between(-reach, reach), y + between(-reach, reach)];
    const radius = reach ? between(0.5, 0.9) : between(0.8, 1.5);
    const shift = between(14, 30) * (random() < 0.5 ? -1 : 1);
    const around: Box = [
      Math.min(x, toX) - 2,
      Math.min(y, toY) - 2,
      Math.max(x, toX) + 2,
      Math.max(y, toY) + 2,
    ];
    const distance: Distance = (px, py) => toSegment(px, py, [x, y, toX, toY]) - radius;
    paint(around, distance, (pixel, coverage) => {
      for (let c = 0; c < 3; c++) canvas[pixel + c] += coverage * shift;
    });
  }
  return canvas;
}

/**
 * Visits the pixels around a figure that it covers.
 * @param box holds the figure; what lies outside the picture is passed over
 * @param distance from the figure's edge, in the picture's pixels
 * @param put gets the index of the pixel's red, and its coverage: ½ − distance, held in (0, 1]
 */
export function paint(box: Box, distance: Distance, put: (pixel: number, coverage: number) => void): void {
  const [x0, y0, x1, y1] = box.map((at) => Math.min(side, Math.max(0, Math.round(at))));
  for (let y = y0; y < y1; y++) {
    for (let x = x0; x < x1; x++) {
      const coverage = Math.min(1, 0.5 - distance(x + 0.5, y + 0.5)); // at the pixel's middle
      if (coverage > 0) put((y * side + x) * 3, coverage);
    }
  }
}
