import type { Picture } from '../image/picture.ts';
import { drawGround, paint } from './ground.ts';
import { distanceTo } from './distance.ts';
import { padAround, wholeFrame } from './frame.ts';
import type { Scene } from './scene.ts';
import { colours, side } from './things.ts';
import { createRandom } from '../random.ts';

/** Weak noise over everything, ± this many of 255. */
const noise = 6;

/** Draws a scene, anti-aliased. The same bytes on every machine. */
export function drawWorld({ objects, backgroundSeed, frame = wholeFrame }: Scene): Picture {
  const random = createRandom(backgroundSeed);
  const canvas = drawGround(random); // [side, side, 3]
  for (const object of objects) {
    const [x0, y0, x1, y1] = object.box;
    const distance = distanceTo(object);
    const colour = colours[object.colour];
    const [middleX, middleY] = [(x0 + x1) / 2, (y0 + y1) / 2];
    paint(
      object.box,
      (x, y) => distance(x - middleX, y - middleY),
      (pixel, coverage) => {
        for (let c = 0; c < 3; c++) canvas[pixel + c] += coverage * (colour[c] - canvas[pixel + c]);
      },
    );
  }
  const bytes = new Uint8ClampedArray(canvas.length); // rounds what it is given, and holds it in 0 … 255
  for (let i = 0; i < bytes.length; i += 3) {
    const grain = noise * (2 * random() - 1);
    bytes[i] = canvas[i] + grain;
    bytes[i + 1] = canvas[i + 1] + grain;
    bytes[i + 2] = canvas[i + 2] + grain;
  }
  const data = new Uint8Array(bytes.buffer);
  padAround(data, frame);
  return { width: side, height: side, data };
}
