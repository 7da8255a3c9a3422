import { expect, test } from 'vitest';
import { readQuestion } from '../../src/node/inputs.ts';
import { readTrainingPrompts } from '../../src/train/ask.ts';
import { startClipFolder } from '../../src/train/clip-folder.ts';
import { startLlavaFolder } from '../../src/train/llava-folder.ts';
import { smokeRecipes } from '../../src/train/recipe.ts';
import { askScene } from '../../src/world/questions.ts';
import { createScene } from '../../src/world/scene.ts';
import { makeFolder } from '../support/pictures.ts';

test('questions are tokenised in training as inference tokenises them, without an unknown word', async () => {
  const { vision } = await startClipFolder(await makeFolder(), smokeRecipes.clip);
  const dir = await makeFolder();
  const config = await startLlavaFolder(dir, smokeRecipes.llava, vision);
  const asker = await readTrainingPrompts(dir, config);
  for (const question of [0, 1, 2].flatMap((index) => askScene(createScene('train', index)))) {
    const { prompt, tokenizer } = await readQuestion(dir, config, question.question);
    const { ask, answer } = asker.tokens(question);
    expect({ before: asker.before, after: ask }).toEqual(prompt);
    expect([...asker.before, ...ask, ...answer]).not.toContain(0);
    expect(tokenizer.decode(answer.slice(0, 1)).trim()).toBe(question.answer);
    expect(config.text.eos_token_id).toEqual(answer.slice(1));
  }
  expect(() => asker.tokens({ question: 'why ?', answer: 'no red' })).toThrow('is 2 tokens');
});
