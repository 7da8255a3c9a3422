import * as tf from '@tensorflow/tfjs-core';
import { preprocess, type PreprocessConfig } from '../image/preprocess.ts';
import { drawWorld } from '../world/draw.ts';
import { side, type Scene } from '../world/scene.ts';

/** Draws scenes as the vision tower takes them: [B, S, S, 3]. */
export function drawPixels(scenes: readonly Scene[], config: PreprocessConfig): tf.Tensor4D {
  const pixels = new Float32Array(scenes.length * side * side * 3);
  // The pictures have the right size already: resizing and cropping would change nothing, slowly.
  const asDrawn = { ...config, resize: null, crop: null };
  for (const [b, scene] of scenes.entries()) {
    pixels.set(preprocess(drawWorld(scene), asDrawn), b * side * side * 3);
  }
  return tf.tensor4d(pixels, [scenes.length, side, side, 3]);
}
