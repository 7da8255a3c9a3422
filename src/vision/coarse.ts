/** A tower and its pictures on a coarser grid: the same patches of the same weights, but fewer of them. */
import * as tf from '@tensorflow/tfjs-core';
import { matrixOf, type Row, type TokenMatrix } from '../tensor/token-matrix.ts';
import type { ClipVision } from './clip.ts';
import { gridSide, prefixTokens, type ClipVisionConfig } from './config.ts';
import { antialiasedMatrix, interpolatingMatrix, resample } from './resample.ts';

/**
 * CLIP's tower for pictures of g × g patches. All weights stay; the table of positions is interpolated from G × G, [CLS]'s
 * row as it is: transformers' `interpolate_pos_encoding=True`.
 * @returns a tower of which the caller disposes `position_embedding` alone
 */
export function coarsenTower({ config, weights }: ClipVision, g: number): ClipVision {
  const [G, D] = [gridSide(config), config.hidden_size];
  const position_embedding = tf.tidy(() => {
    const before = prefixTokens(config);
    const cls = tf.slice(weights.position_embedding, 0, before); // of a tower without [CLS] no row
    const patches = tf.slice(weights.position_embedding, before);
    const coarse = resample(tf.reshape(patches, [1, G, G, D]), interpolatingMatrix(G, g));
    return tf.concat<tf.Tensor2D>([cls, tf.reshape(coarse, [g * g, D])]);
  });
  return {
    config: { ...config, image_size: g * config.patch_size },
    weights: { ...weights, position_embedding },
  };
}

/**
 * The part of pictures that has patches, resized to g × g of them, as Pillow would if it did not round to bytes.
 * @param pixels [B, S, S, 3]
 * @returns [B, g·patch, g·patch, 3]
 */
export function shrinkPictures(pixels: tf.Tensor4D, config: ClipVisionConfig, g: number): tf.Tensor4D {
  return tf.tidy(() => {
    const [covered, side] = [gridSide(config) * config.patch_size, g * config.patch_size];
    const seen = tf.slice(pixels, [0, 0, 0, 0], [-1, covered, covered, 3]);
    return resample(seen, antialiasedMatrix(covered, side));
  });
}

/**
 * Which of G × G patches each of g × g coarser ones covers, and how much of it they are. These are shares of area: what a
 * tower makes of a coarser patch is no mean of what it makes of these.
 */
export function cellsOf(B: number, G: number, g: number): TokenMatrix {
  // In g-ths of a patch: the i-th coarser one from i·G to (i + 1)·G, the j-th patch from j·g to (j + 1)·g.
  const overlap = (i: number, j: number) => Math.min((i + 1) * G, (j + 1) * g) - Math.max(i * G, j * g);
  const sides = Array.from({ length: g }, (_, i) =>
    Array.from({ length: G }, (_, j) => ({ j, share: overlap(i, j) / G })).filter(({ share }) => share > 0),
  );
  const cells = sides.flatMap((rows) =>
    sides.map(
      (columns): Row =>
        new Map(
          rows.flatMap((row) => columns.map((column) => [row.j * G + column.j, row.share * column.share])),
        ),
    ),
  );
  return matrixOf(Array.from({ length: B }, () => cells), G * G); // prettier-ignore
}
