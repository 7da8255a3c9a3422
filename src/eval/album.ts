/** Pictures as the vision tower sees them, each seen once. */
import * as tf from '@tensorflow/tfjs-core';
import type { Llava } from '../checkpoint/load.ts';
import type { TowerAsk } from '../compress/method.ts';
import { preprocess, type PreprocessConfig } from '../image/preprocess.ts';
import { patchCount } from '../vision/config.ts';
import type { MergeHook } from '../vision/merging.ts';
import { seePictures, type SeenPictures } from '../vlm.ts';
import type { TaskPicture } from './task.ts';

/** Chunks of pictures, one batch of the tower each. */
export interface Album {
  /** For each chunk its pictures' indices. */
  chunks: number[][];
  /**
   * Lends what the tower made of a chunk; it stays the album's.
   * @param merge what a method does inside the tower: then the chunk is seen for this loan alone
   */
  lend<T>(chunk: number, use: (seen: SeenPictures) => Promise<T>, merge?: MergeHook): Promise<T>;
  dispose(): void;
}

export interface AlbumOptions {
  preprocessing: PreprocessConfig;
  /** What any of the methods wants of the tower. */
  asks: TowerAsk;
  /** What is seen is kept up to so many bytes; chunks beyond them are seen anew each time. */
  keepBytes: number;
  /** The pictures that are wanted, a run of indices; all where absent. */
  only?: readonly number[];
  /** The tower sees as many pictures at once as have so many values, B · P · D. */
  chunkValues?: number;
}

export function openAlbum(model: Llava, pictures: readonly TaskPicture[], options: AlbumOptions): Album {
  const { vision } = model.config;
  const perChunk = Math.max(
    1,
    Math.floor((options.chunkValues ?? 2 ** 21) / (patchCount(vision) * vision.hidden_size)),
  );
  const wanted = options.only ?? [...pictures.keys()];
  const chunks = Array.from({ length: Math.ceil(wanted.length / perChunk) }, (_, i) =>
    wanted.slice(i * perChunk, (i + 1) * perChunk),
  );
  const kept = new Map<number, SeenPictures>();
  let keptBytes = 0;

  const see = async (chunk: number, merge?: MergeHook): Promise<SeenPictures> => {
    const S = vision.image_size;
    const values = new Float32Array(chunks[chunk].length * S * S * 3);
    for (const [b, picture] of chunks[chunk].entries()) {
      values.set(preprocess(await pictures[picture].read(), options.preprocessing), b * S * S * 3);
    }
    const pixels = tf.tensor4d(values, [chunks[chunk].length, S, S, 3]);
    try {
      return seePictures(model, pixels, merge ? {} : options.asks, {}, merge);
    } finally {
      pixels.dispose();
    }
  };

  return {
    chunks,
    async lend(chunk, use, merge) {
      const known = merge ? undefined : kept.get(chunk);
      if (known) return use(known);
      const before = tf.memory().numBytes;
      const seen = await see(chunk, merge);
      const bytes = tf.memory().numBytes - before;
      const keep = !merge && keptBytes + bytes <= options.keepBytes;
      if (keep) {
        kept.set(chunk, seen);
        keptBytes += bytes;
      }
      try {
        return await use(seen);
      } finally {
        if (!keep) seen.dispose();
      }
    },
    dispose() {
      for (const seen of kept.values()) seen.dispose();
      kept.clear();
    },
  };
}
