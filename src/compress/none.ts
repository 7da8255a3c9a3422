import * as tf from '@tensorflow/tfjs-core';
import type { VisionMethod } from './method.ts';

/** No compression: every patch stays, whatever the budget. What every other method is measured against. */
export const none: VisionMethod = {
  name: 'none',
  paper: 'the uncompressed model',
  summary: 'keeps every patch',
  where: 'vision',
  defaults: {},
  help: {},
  asks: () => ({}),
  run({ all, patches: P }) {
    const tokens = all();
    const [B] = tokens.shape;
    const every = Array.from({ length: P }, (_, patch) => patch);
    const kept = tf.tensor2d(
      Array.from({ length: B }, () => every),
      [B, P],
      'int32',
    );
    return Promise.resolve({ tokens, kept });
  },
};
