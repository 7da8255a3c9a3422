import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { llavaPrompt } from '../../src/text/prompt.ts';
import { readTokenizer } from '../../src/node/checkpoint.ts';
import type { Tokenizer } from '../../src/text/tokenizer.ts';
import { captionScene } from '../../src/world/caption.ts';
import { worldQuestions } from '../../src/world/questions.ts';
import { createFamily, createScene } from '../../src/world/scene.ts';
import { createClip } from '../../src/world/clip.ts';
import { askClip, clipWords, describeClip } from '../../src/world/clip-questions.ts';
import {
  captionLength,
  clipTokenizer,
  llavaTokenizer,
  videoTokenizer,
  worldWords,
} from '../../src/world/vocabulary.ts';
import { makeFileFolder } from '../support/cli.ts';

const folder = await makeFileFolder();
const write = async (name: string, tokenizer: object, bos: number | null): Promise<Tokenizer> => {
  await mkdir(path.join(folder, name));
  await writeFile(path.join(folder, name, 'tokenizer.json'), JSON.stringify(tokenizer));
  return readTokenizer(path.join(folder, name), bos);
};
const llava = await write('llava', llavaTokenizer(), 1);
const clip = await write('clip', clipTokenizer(), null);
const [unknown, begin, end] = [0, worldWords.length + 1, worldWords.length + 2];

test('a word is listed once', () => {
  expect(new Set(worldWords).size).toBe(worldWords.length);
  for (const word of worldWords) expect(word).toMatch(/^\S+$/);
});

describe("the decoder's tokenizer", () => {
  test('has its specials first, and then one token a word', () => {
    expect(llava.encodePlain('<unk> <s> </s> <pad> <image> USER: ASSISTANT:')).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(llava.encodePlain(worldWords.join(' '))).toEqual(worldWords.map((_, i) => 7 + i));
  });

  test('of clips has the same tokens, and the words of clips behind them', async () => {
    const video = await write('video', videoTokenizer(), 1);
    const all = worldWords.join(' ');
    expect(video.encodePlain(all)).toEqual(llava.encodePlain(all));
    const first = 7 + worldWords.length;
    expect(video.encodePlain(clipWords.join(' '))).toEqual(clipWords.map((_, i) => first + i));
    for (let index = 0; index < 30; index++) {
      const made = createClip('test', index);
      const texts = askClip(made).flatMap(({ question, answer }) => [question, answer]);
      for (const text of [...texts, describeClip(made)]) {
        expect(video.decode(video.encodePlain(text)).trim()).toBe(text);
        expect(video.encodePlain(text)).not.toContain(unknown);
      }
    }
  });

  test('turns questions and answers into words and back, with <s> in front once', () => {
    for (const { question: q } of worldQuestions('test', 50)) {
      const ids = llava.encode(llavaPrompt(q.question));
      expect(ids.slice(0, 3)).toEqual([1, 5, 4]);
      expect(ids.at(-1)).toBe(6);
      expect(ids).toHaveLength(4 + q.question.split(' ').length);
      expect(ids).not.toContain(unknown);
      expect(llava.decode(ids.slice(3, -1))).toBe(q.question);
      expect(llava.encode(q.answer)).toHaveLength(2);
      expect(llava.decode(llava.encode(q.answer))).toBe(q.answer);
    }
  });

  test('takes a question as people write it, and says what it does not know', () => {
    const plain = llava.encodePlain('what color is the circle ?');
    expect(plain).not.toContain(unknown);
    expect(llava.encodePlain('What colour is\nthe  circle?')).toEqual(plain);
    expect(llava.encodePlain('what color is the reddish circles')).toEqual([
      ...plain.slice(0, 4),
      unknown,
      unknown,
    ]);
  });
});

describe("CLIP's tokenizer", () => {
  test('puts a caption between begin and end, whose ids are the largest', () => {
    for (let index = 0; index < 50; index++) {
      const caption = captionScene(createScene('train', index));
      const ids = clip.encode(caption);
      expect([ids[0], ids.at(-1)]).toEqual([begin, end]);
      expect(ids).toHaveLength(caption.split(' ').length + 2);
      expect(Math.max(...ids.slice(1, -1))).toBeLessThan(begin);
      expect(ids).not.toContain(unknown);
      expect(clip.decode(ids)).toBe(caption);
    }
    expect(clip.encodePlain('A red circle, small')).toEqual(clip.encodePlain('a red circle , small'));
    expect(clip.encodePlain('<|startoftext|> <|endoftext|>')).toEqual([begin, end]);
  });

  test('gives the longest caption the length that is told', () => {
    const captions = Array.from({ length: 50 }, (_, index) => createFamily('train', index, 4)).flat();
    const lengths = captions.map((scene) => clip.encode(captionScene(scene)).length);
    expect(Math.max(...lengths)).toBe(captionLength);
  });
});
