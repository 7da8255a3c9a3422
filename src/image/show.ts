import type { Picture } from './picture.ts';
import type { PreprocessConfig } from './preprocess.ts';

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
