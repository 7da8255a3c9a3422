import { copyFile, cp, readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { expectRefusal, makeFileFolder, makeSubfolder, vtc, vtcOk } from '../support/cli.ts';
import { fixture, golden, hasFixtures } from '../support/golden.ts';

const folder = await makeFileFolder();
const noFixtures = '../shared/fixtures is not beside the checkout';
const stories = fixture('stories260k');

interface Story {
  prompt: string;
  text: string;
}
const readStories = async () =>
  JSON.parse(await readFile(path.join(stories, 'generations.json'), 'utf8')) as Story[];

/** A LLaMA of 90 tokens and context 64, with a tokenizer of 600 tokens that spells unknown letters in bytes. */
async function makeLlama(): Promise<string> {
  const dir = await makeSubfolder(folder);
  await cp(golden('llama-bias'), dir, { recursive: true });
  await copyFile(golden('tokenizer', 'spm-bpe.json'), path.join(dir, 'tokenizer.json'));
  return dir;
}

describe.concurrent('generate', () => {
  test('writes the first story to the letter, 200 tokens in all', async (context) => {
    context.skip(!hasFixtures, noFixtures);
    const [story] = await readStories();
    expect(await vtcOk('generate', '--model', stories)).toBe(`${story.text}\n`);
  });

  test.each([1, 2])('writes story %i on from its prompt, 80 tokens more', async (index) => {
    if (!hasFixtures) return console.warn(`skipped: ${noFixtures}`);
    const { prompt, text } = (await readStories())[index];
    const stdout = await vtcOk('generate', '--model', stories, '--prompt', prompt, '--new-tokens', '80');
    expect(stdout).toBe(`${text}\n`);
  });

  test('draws the same text of the same seed', async (context) => {
    context.skip(!hasFixtures, noFixtures);
    const draw = (seed: string) =>
      vtcOk('generate', '--model', stories, '--new-tokens', '20', '--temperature', '1', '--seed', seed);
    const [first, again, other] = await Promise.all([draw('1'), draw('1'), draw('2')]);
    expect(again).toBe(first);
    expect(other).not.toBe(first);
  });

  test('refuses a prompt beyond the context before a word of it is written', async (context) => {
    context.skip(!hasFixtures, noFixtures);
    const prompt = ['--prompt', 'Once upon a time, '];
    expectRefusal(
      await vtc('generate', '--model', stories, ...prompt, '--new-tokens', '600'),
      /^the prompt takes \d+ positions and 600 new tokens are asked for, but the decoder's context is 512$/,
    );
  });

  test('refuses text whose tokens the model does not have', async () => {
    expectRefusal(
      await vtc('generate', '--model', await makeLlama(), '--prompt', 'elephants'),
      /^--prompt: \d{3} is not a token id \(0 \.\. 89\)$/,
    );
  });

  test('refuses a folder without a tokenizer, and one without a decoder', async () => {
    const [llama, clip] = [golden('llama-bias'), golden('clip-vision')];
    expectRefusal(await vtc('generate', '--model', llama), /^.*llama-bias has no tokenizer\.json/);
    expectRefusal(await vtc('generate', '--model', clip), `${clip} is a clip checkpoint: it has no decoder`);
  });
});
