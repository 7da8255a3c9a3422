/** The frames of a clip on disk. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import sharp from 'sharp';
import { beforeAll, expect, test } from 'vitest';
import { startBackend } from '../../src/backend/start.ts';
import { UserError } from '../../src/errors.ts';
import { countFrames, decodeImage, encodePng, encodePngBytes } from '../../src/node/decode.ts';
import { listFrames, readFrames } from '../../src/node/frames.ts';
import { readPicture } from '../../src/node/inputs.ts';
import { shippedModel } from '../../src/node/shipped.ts';
import { createClip, frameScenes } from '../../src/world/clip.ts';
import { drawWorld } from '../../src/world/draw.ts';
import { makeFolder } from '../support/pictures.ts';

const pictures = frameScenes(createClip('test', 1, 4)).map(drawWorld);

beforeAll(async () => {
  await startBackend('cpu');
});

test('a folder’s pictures follow by their numbers, and nothing else of it is a frame', async () => {
  const dir = await makeFolder();
  for (const name of ['10.png', '2.png', '1.PNG']) await encodePng(pictures[0], path.join(dir, name));
  await writeFile(path.join(dir, 'questions.jsonl'), '');
  await writeFile(path.join(dir, '.3.png'), '');
  const files = ['1.PNG', '2.png', '10.png'].map((name) => ({ file: path.join(dir, name), page: 0 }));
  expect(await listFrames([dir])).toEqual(files);
  expect(await listFrames([files[2].file, dir])).toEqual([files[2], ...files]);
});

test('an animated WebP’s frames are the pictures that it was made of; as a picture it is its first', async () => {
  const dir = await makeFolder();
  const file = path.join(dir, 'clip.webp');
  const pngs = await Promise.all(pictures.map(encodePngBytes));
  await writeFile(file, await sharp(pngs, { join: { animated: true } }).webp({ lossless: true }).toBuffer()); // prettier-ignore
  expect(await countFrames(file)).toBe(4);
  const frames = await listFrames([file]);
  expect(frames).toEqual([0, 1, 2, 3].map((page) => ({ file, page })));
  for (const { page } of frames) expect(await decodeImage(file, undefined, page)).toEqual(pictures[page]);
  expect(await decodeImage(file)).toEqual(pictures[0]);
  const together = await readFrames(frames, shippedModel(), 80);
  expect(together.pixels.shape).toEqual([4, 80, 80, 3]);
  const values = together.pixels.dataSync();
  for (const [i, picture] of pictures.entries()) {
    const png = path.join(dir, 'one.png');
    await encodePng(picture, png);
    const one = await readPicture(png, shippedModel(), 80);
    expect(values.slice(i * one.values.length, (i + 1) * one.values.length)).toEqual(one.values);
  }
});

test('refuses what is no picture, and a folder without any', async () => {
  const dir = await makeFolder();
  const missing = path.join(dir, 'missing.png');
  await expect(listFrames([missing])).rejects.toThrow(
    new UserError(`cannot read the image ${missing}: there is no such file or folder`),
  );
  const empty = path.join(dir, 'empty');
  await mkdir(empty);
  await expect(listFrames([empty])).rejects.toThrow(
    new UserError(`${empty} is a folder without a PNG, JPEG or WebP`),
  );
  const text = path.join(dir, 'text.webp');
  await writeFile(text, 'RIFF0000WEBP and no more');
  const frames = await listFrames([text]);
  await expect(readFrames(frames, shippedModel(), 80)).rejects.toThrow(UserError);
});
