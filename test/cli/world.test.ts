import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { decodeImage } from '../../src/node/decode.ts';
import { createClip, frameScenes, type Clip } from '../../src/world/clip.ts';
import { askClip, clipChoices } from '../../src/world/clip-questions.ts';
import { drawWorld } from '../../src/world/draw.ts';
import { choicesOf, worldQuestions } from '../../src/world/questions.ts';
import { createScene } from '../../src/world/scene.ts';
import {
  expectRefusal,
  expectUsageError,
  listFiles,
  makeFileFolder,
  makeSubfolder,
  vtc,
  vtcOk,
} from '../support/cli.ts';

const folder = await makeFileFolder();

describe.concurrent('world', () => {
  test('writes a PNG of each scene, and the questions as JSON lines', async () => {
    const out = path.join(await makeSubfolder(folder), 'new', 'world');
    const stdout = await vtcOk('world', '--split', 'validation', '--count', '3', '--out', out);
    const asked = worldQuestions('validation', 3);
    expect(stdout).toBe(`3 scenes of the validation split and ${asked.length} questions: ${out}\n`);
    const images = [0, 1, 2].map((index) => `validation-00000${index}.png`);
    expect(await listFiles(out)).toEqual(['questions.jsonl', ...images]);
    for (const [index, image] of images.entries()) {
      expect(await decodeImage(path.join(out, image))).toEqual(drawWorld(createScene('validation', index)));
    }
    const lines = (await readFile(path.join(out, 'questions.jsonl'), 'utf8')).split('\n');
    expect(lines.pop()).toBe('');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(
      asked.map(({ scene, question: { id, question, answer, type, boxes } }) => {
        return { id, image: `${scene.id}.png`, question, answer, type, choices: choicesOf[type], boxes };
      }),
    );
  });

  test('writes clips as folders of frames, and their questions', async () => {
    const out = path.join(await makeSubfolder(folder), 'clips');
    const stdout = await vtcOk('world', '--split', 'validation', '--clips', '2', '--out', out);
    const clips = [0, 1].map((index) => createClip('validation', index));
    const asked = clips.flatMap((clip) => askClip(clip).map((question) => ({ clip, ...question })));
    expect(stdout).toBe(`2 clips of the validation split and ${asked.length} questions: ${out}\n`);
    const framesOf = (clip: Clip) => Array.from({ length: clip.frames }, (_, f) => `${clip.id}/${f}.png`);
    expect((await listFiles(out)).sort()).toEqual(['questions.jsonl', ...clips.flatMap(framesOf)].sort());
    for (const clip of clips) {
      for (const [f, scene] of frameScenes(clip).entries()) {
        expect(await decodeImage(path.join(out, framesOf(clip)[f]))).toEqual(drawWorld(scene));
      }
    }
    const lines = (await readFile(path.join(out, 'questions.jsonl'), 'utf8')).trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(
      asked.map(({ clip, id, question, answer, type }) => {
        return { id, frames: framesOf(clip), question, answer, type, choices: clipChoices[type] };
      }),
    );
    expectUsageError(
      await vtc('world', '--clips', '2', '--count', '3', '--out', out),
      /'--clips <n>' cannot be used with option '--count/,
    );
  });

  test('writes the same again', async () => {
    const out = await makeSubfolder(folder);
    await vtcOk('world', '--count', '2', '--out', out);
    const files = await listFiles(out);
    const read = () => Promise.all(files.map((file) => readFile(path.join(out, file))));
    const first = await read();
    await vtcOk('world', '--count', '2', '--out', out);
    expect(await read()).toEqual(first);
  });

  test('refuses what it cannot do in one sentence', async () => {
    const file = path.join(await makeSubfolder(folder), 'file');
    await writeFile(file, '');
    expectRefusal(
      await vtc('world', '--out', file),
      `cannot make the folder ${file}: ${file} is not a folder`,
    );
    expectUsageError(await vtc('world'), "required option '--out <dir>' not specified");
    expectUsageError(
      await vtc('world', '--out', file, '--split', 'dev'),
      /Allowed choices are train, validation, test/,
    );
    expectUsageError(
      await vtc('world', '--out', file, '--count', '0'),
      /should be a whole number of at least 1/,
    );
  });
});
