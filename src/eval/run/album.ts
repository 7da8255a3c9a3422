/** Pictures as the vision tower sees them, each seen once. */
import * as tf from '@tensorflow/tfjs-core';
import type { Llava } from '../../checkpoint/load.ts';
import type { TowerNeeds } from '../../compress/method.ts';
import { preprocess, type PreprocessConfig } from '../../image/preprocess.ts';
import { patchCount } from '../../vision/config.ts';
import { see, type SeenPictures } from '../../story.ts';
import { free, scope } from '../../tensor/scope.ts';
import type { InTower } from '../../vision/tower.ts';
import type { TaskPicture } from '../task/task.ts';

/** Chunks of pictures, one batch of the tower each. */
export interface Album {
  /** For each chunk its pictures' indices. */
  chunks: number[][];
  /**
   * Lends what the tower made of a chunk; it stays the album's.
   * @param inTower what a method does inside the tower: then the chunk is seen for this loan alone
   */
  lend<T>(chunk: number, use: (seen: SeenPictures) => Promise<T>, inTower?: InTower): Promise<T>;
  /** Sees a chunk anew, for no more than one method needs, by the clock. What is seen is the caller's. */
  look(
    chunk: number,
    needs: TowerNeeds,
    inTower?: InTower,
  ): Promise<{ seen: SeenPictures; milliseconds: number }>;
  dispose(): void;
}

export interface AlbumOptions {
  preprocessing: PreprocessConfig;
  /** What any of the methods needs of the tower. */
  needs: TowerNeeds;
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

  let first: Float32Array | undefined; // the pixels of chunk 0, which every cell looks at anew
  const readChunk = async (chunk: number): Promise<Float32Array> => {
    if (chunk === 0 && first) return first;
    const S = vision.image_size;
    const values = new Float32Array(chunks[chunk].length * S * S * 3);
    for (const [b, picture] of chunks[chunk].entries()) {
      const decoded = await pictures[picture].read(options.preprocessing);
      values.set(preprocess(decoded, options.preprocessing), b * S * S * 3);
    }
    if (chunk === 0) first = values;
    return values;
  };

  const look: Album['look'] = async (chunk, needs, inTower) => {
    using own = scope();
    const S = vision.image_size;
    const pixels = own(tf.tensor4d(await readChunk(chunk), [chunks[chunk].length, S, S, 3]));
    const begun = performance.now();
    const seen = await see(model, pixels, { needs, inTower });
    return { seen, milliseconds: performance.now() - begun };
  };

  return {
    chunks,
    look,
    async lend(chunk, use, inTower) {
      const known = inTower ? undefined : kept.get(chunk);
      if (known) return use(known);
      const before = tf.memory().numBytes;
      const { seen } = await look(chunk, inTower ? {} : options.needs, inTower);
      seen.features.F(); // whole: every method will take its part
      const bytes = tf.memory().numBytes - before;
      const keep = !inTower && keptBytes + bytes <= options.keepBytes;
      if (keep) {
        kept.set(chunk, seen);
        keptBytes += bytes;
      }
      try {
        return await use(seen);
      } finally {
        if (!keep) free(seen);
      }
    },
    dispose() {
      free(kept);
      kept.clear();
    },
  };
}
