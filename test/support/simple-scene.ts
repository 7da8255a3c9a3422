import sharp from 'sharp';
import type { Random } from '../../src/random.ts';
import type { Picture } from '../../src/image/picture.ts';

const colours = ['#d62728', '#1f77b4', '#2ca02c', '#ff9f1c', '#9467bd', '#17becf'];

type Draw = (x: number, y: number, r: number) => string;
const shapes: Draw[] = [
  (x, y, r) => `<circle cx="${x}" cy="${y}" r="${r}"/>`,
  (x, y, r) => `<rect x="${x - r}" y="${y - r}" width="${2 * r}" height="${2 * r}"/>`,
  (x, y, r) => `<polygon points="${x},${y - r} ${x - r},${y + r} ${x + r},${y + r}"/>`,
];

/**
 * Draws a few coloured shapes on a plain ground.
 * @param side of the picture, pixels
 */
export async function drawScene(random: Random, side: number, objects = 3): Promise<Picture> {
  const pick = <T>(from: T[]): T => from[Math.floor(random() * from.length)];
  const drawn = Array.from({ length: objects }, () => {
    const r = side * (0.06 + 0.06 * random());
    const [x, y] = [r + random() * (side - 2 * r), r + random() * (side - 2 * r)];
    return `<g fill="${pick(colours)}">${pick(shapes)(x, y, r)}</g>`;
  });
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${side}" height="${side}">
    <rect width="100%" height="100%" fill="#e9e4d8"/>${drawn.join('')}</svg>`;
  const { data } = await sharp(Buffer.from(svg)).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { width: side, height: side, data };
}
