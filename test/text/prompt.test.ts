import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { checkIds, cutAtImage, llavaPrompt, readPromptTemplate } from '../../src/text/prompt.ts';
import { makeFolder } from '../support/pictures.ts';

/** A template that shows all it is given. */
const template =
  '{{ bos_token }}{% for m in messages %}[{{ m.role }}]{% for c in m.content %}' +
  "{{ '<image>' if c.type == 'image' else c.text }};{% endfor %}{% endfor %}" +
  '{{ eos_token }}{% if add_generation_prompt %}GO{% endif %}';

async function makeTemplates(files: Record<string, unknown>): Promise<string> {
  const dir = await makeFolder();
  for (const [name, content] of Object.entries(files)) {
    await writeFile(path.join(dir, name), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return dir;
}

describe('readPromptTemplate', () => {
  test('without a template asks as LLaVA-1.5 does', async () => {
    const prompt = await readPromptTemplate(await makeFolder());
    expect(prompt).toBe(llavaPrompt);
    expect(prompt('What?')).toBe('USER: <image>\nWhat? ASSISTANT:');
  });

  test.each([
    ['chat_template.jinja', template],
    ['chat_template.json', { chat_template: template }],
    ['processor_config.json', { chat_template: template }],
    ['tokenizer_config.json', { chat_template: template }],
  ])('renders the template of %s', async (name, content) => {
    const prompt = await readPromptTemplate(await makeTemplates({ [name]: content }));
    expect(prompt('What?')).toBe('[user]<image>;What?;GO');
  });

  test('tells the template the special tokens, plain or as objects', async () => {
    const dir = await makeTemplates({
      'chat_template.jinja': template,
      'tokenizer_config.json': { bos_token: '<s>', eos_token: { content: '</s>' } },
    });
    expect((await readPromptTemplate(dir))('Q')).toBe('<s>[user]<image>;Q;</s>GO');
  });

  test('takes the file of its own before a field of another', async () => {
    const files = {
      'chat_template.jinja': '1',
      'chat_template.json': { chat_template: '2' },
      'processor_config.json': { chat_template: '3' },
      'tokenizer_config.json': { chat_template: '4' },
    };
    const names = Object.keys(files) as (keyof typeof files)[];
    for (const [i] of names.entries()) {
      const rest = Object.fromEntries(names.slice(i).map((name) => [name, files[name]]));
      expect((await readPromptTemplate(await makeTemplates(rest)))('')).toBe(String(i + 1));
    }
  });

  test('refuses a template that is not Jinja', async () => {
    const dir = await makeTemplates({ 'chat_template.jinja': '{% for %}' });
    const refused = readPromptTemplate(dir);
    await expect(refused).rejects.toThrow(UserError);
    await expect(refused).rejects.toThrow(`the chat template in ${dir} cannot be used: `);
  });
});

describe('cutAtImage', () => {
  const image = 99;
  const text = fc.array(fc.nat({ max: 98 }), { maxLength: 6 });

  test('gives what stands around one image token or a whole run of them', () => {
    fc.assert(
      fc.property(text, text, fc.constantFrom(1, 7), (before, after, count) => {
        const ids = [...before, ...Array.from({ length: count }, () => image), ...after];
        expect(cutAtImage(ids, image, 7)).toEqual({ before, after });
      }),
    );
  });

  test.each([
    [[1, 2], 'the prompt has no image token (99)'],
    [[], 'the prompt has no image token (99)'],
    [[1, 99, 99, 2], 'the prompt has 2 image tokens (99), but one picture takes 1 or 3 in a row'],
    [[99, 99, 99, 99], 'the prompt has 4 image tokens (99), but one picture takes 1 or 3 in a row'],
    [
      [99, 1, 99],
      'the prompt has 2 image tokens (99) in several places, but one picture takes 1 or 3 in a row',
    ],
    [
      [99, 1, 99, 99],
      'the prompt has 3 image tokens (99) in several places, but one picture takes 1 or 3 in a row',
    ],
  ])('refuses %j', (ids, message) => {
    expect(() => cutAtImage(ids, image, 3)).toThrow(new UserError(message));
  });
});

describe('checkIds', () => {
  test('passes every id of the vocabulary', () => {
    expect(() => checkIds([0, 31, 5], 32, '--ids')).not.toThrow();
    expect(() => checkIds([], 32, '--ids')).not.toThrow();
  });

  test.each([[-1], [32], [1.5], [NaN], [Infinity]])('refuses %d', (bad) => {
    expect(() => checkIds([1, bad, 2], 32, '--ids')).toThrow(
      new UserError(`--ids: ${bad} is not a token id (0 .. 31)`),
    );
  });
});
