/** A picture and a table of positions on a coarser grid, in float64 and point by point, not axis by axis. */
import type { ClipVisionWeights } from '../../src/vision/weights.ts';
import type { ClipVisionConfig } from '../../src/vision/config.ts';
import type { Arrays } from '../support/random.ts';

/** Keys 1981 with any a: (a + 2)d³ − (a + 3)d² + 1, then ad³ − 5ad² + 8ad − 4a. */
function keys(a: number, x: number): number {
  const d = Math.abs(x);
  if (d <= 1) return (a + 2) * d ** 3 - (a + 3) * d ** 2 + 1;
  return d <= 2 ? a * d ** 3 - 5 * a * d ** 2 + 8 * a * d - 4 * a : 0;
}

const range = (n: number) => [...Array(n).keys()];

/** Of a picture [S, S, 3] each new point the weighted mean of all old ones, by how far off they are: [s, s, 3]. */
export function resizePicture(pixels: number[][][], s: number): number[][][] {
  const r = pixels.length / s;
  const distance = (i: number, j: number) => (j + 0.5 - (i + 0.5) * r) / r;
  return range(s).map((y) =>
    range(s).map((x) => {
      const [sums, total] = [[0, 0, 0], [0]];
      for (const [v, row] of pixels.entries()) {
        for (const [u, point] of row.entries()) {
          const weight = keys(-0.5, distance(y, v)) * keys(-0.5, distance(x, u));
          total[0] += weight;
          for (const c of sums.keys()) sums[c] += weight * point[c];
        }
      }
      return sums.map((sum) => sum / total[0]);
    }),
  );
}

/** Of positions [1 + G², D], [CLS] first, each new one of its 4 × 4 neighbours: [1 + g², D]. */
export function interpolatePositions(positions: number[][], g: number): number[][] {
  const [cls, ...patches] = positions;
  const G = Math.sqrt(patches.length);
  const near = (i: number) => {
    const centre = ((i + 0.5) * G) / g - 0.5;
    return [-1, 0, 1, 2].map((step) => {
      const j = Math.floor(centre) + step;
      return { j: j < 0 ? 0 : j >= G ? G - 1 : j, weight: keys(-0.75, centre - j) };
    });
  };
  const coarse = range(g * g).map((u) =>
    cls.map((_, d) => {
      let sum = 0;
      for (const row of near(Math.floor(u / g)))
        for (const column of near(u % g))
          sum += row.weight * column.weight * patches[row.j * G + column.j][d];
      return sum;
    }),
  );
  return [cls, ...coarse];
}

/** A tower for g × g patches, and a picture as it takes it. */
export function coarsen(
  weights: Arrays<ClipVisionWeights>,
  pixels: number[][][],
  config: ClipVisionConfig,
  g: number,
) {
  const covered = Math.floor(config.image_size / config.patch_size) * config.patch_size;
  const seen = pixels.slice(0, covered).map((row) => row.slice(0, covered));
  return {
    weights: { ...weights, position_embedding: interpolatePositions(weights.position_embedding, g) },
    pixels: resizePicture(seen, g * config.patch_size),
    config: { ...config, image_size: g * config.patch_size },
  };
}
