/** The frames of a clip: several pictures, a folder of them, or an animated WebP. */
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { takePicture, type LoadedPicture } from '../inputs.ts';
import { scope } from '../tensor/scope.ts';
import { readPreprocessConfig } from './checkpoint.ts';
import { countFrames, decodeImage } from './decode.ts';
import { reasonOf } from './files.ts';

/** Where a frame is. */
export interface FrameFile {
  file: string;
  /** Which of an animation's. */
  page: number;
}

/**
 * The frames that paths name, in order: a folder's pictures by their names (2 before 10), an animation's as they follow.
 * @throws UserError for what is no picture, and for a folder without any
 */
export async function listFrames(paths: readonly string[]): Promise<FrameFile[]> {
  const files = (await Promise.all(paths.map(picturesAt))).flat();
  const frames: FrameFile[] = [];
  for (const file of files) {
    const count = await countFrames(file);
    for (let page = 0; page < count; page++) frames.push({ file, page });
  }
  return frames;
}

const byNumber = new Intl.Collator('en', { numeric: true });

async function picturesAt(place: string): Promise<string[]> {
  const found = await stat(place).catch(() => undefined);
  if (!found?.isDirectory()) return [place]; // what is missing is refused when it is read
  const names = await readdir(place).catch((error: unknown) => {
    throw new UserError(`cannot read the folder ${place}: ${reasonOf(error)}`);
  });
  const pictures = names.filter((name) => /^[^.].*\.(png|jpe?g|webp)$/i.test(name)).sort(byNumber.compare);
  if (pictures.length === 0) throw new UserError(`${place} is a folder without a PNG, JPEG or WebP`);
  return pictures.map((name) => path.join(place, name));
}

/**
 * Frames as a checkpoint's vision tower wants them. The caller disposes their pixels.
 * @param pad LLaVA's padding to a square, whatever the folder says
 * @returns pixels [F, S, S, 3]
 */
export async function readFrames(
  frames: readonly FrameFile[],
  dir: string,
  imageSize: number,
  pad = false,
): Promise<LoadedPicture> {
  using own = scope();
  const config = await readPreprocessConfig(dir, imageSize, pad);
  const taken: LoadedPicture[] = [];
  for (const { file, page } of frames) {
    taken.push(own(takePicture(await decodeImage(file, config, page), config, imageSize)));
  }
  const pixels = tf.concat(
    taken.map((picture) => picture.pixels),
    0,
  );
  return { ...taken[0], pixels };
}
