import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import {
  checkIds,
  countPictures,
  cutAtImage,
  cutAtImages,
  llavaPrompt,
  textOf,
} from '../../src/text/prompt.ts';
import { readPromptTemplate } from '../../src/node/checkpoint.ts';
import { makeFolder } from '../support/pictures.ts';

/** A template that shows all it is given. */
const template =
  '{{ bos_token }}{% for m in messages %}[{{ m.role }}]{% for c in m.content %}' +
  "{{ '<image>' if c.type == 'image' else c.text }};{% endfor %}{% endfor %}" +
  '{{ eos_token }}{% if add_generation_prompt %}GO{% endif %}';

async function makeTemplates(files: Record<string, unknown>): Promise<string> {
  const dir = await makeFolder();
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(dir, name)), { recursive: true });
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

  test('takes the sources in the order of LlavaProcessor', async () => {
    const files = {
      'processor_config.json': { chat_template: '<image>1' },
      'chat_template.json': { chat_template: '<image>2' },
      'chat_template.jinja': '<image>3',
      'additional_chat_templates/default.jinja': '<image>4',
      'tokenizer_config.json': { chat_template: '<image>5' },
    };
    const names = Object.keys(files) as (keyof typeof files)[];
    for (const [i] of names.entries()) {
      const kept = names.slice(i).filter((name) => i > 1 || !name.startsWith('additional')); // a conflict: see below
      const rest = Object.fromEntries(kept.map((name) => [name, files[name]]));
      expect((await readPromptTemplate(await makeTemplates(rest)))('')).toBe(`<image>${i + 1}`);
    }
  });

  test('takes the default of named templates, and says which there are where none is', async () => {
    const list = [
      { name: 'tool_use', template: 'no' },
      { name: 'default', template: '<image>yes' },
    ];
    const dir = await makeTemplates({ 'tokenizer_config.json': { chat_template: list } });
    expect((await readPromptTemplate(dir))('')).toBe('<image>yes');
    const without = { 'tokenizer_config.json': { chat_template: list.slice(0, 1) } };
    await expect(readPromptTemplate(await makeTemplates(without))).rejects.toThrow(
      /none is named default \(tool_use\): give one with --template$/,
    );
    const folder = await makeTemplates({ 'additional_chat_templates/rag.jinja': '<image>' });
    await expect(readPromptTemplate(folder)).rejects.toThrow(/none is named default \(rag\)/);
  });

  test.each([
    [{ 'chat_template.json': {} }, /chat_template\.json: chat_template is missing$/],
    [
      {
        'chat_template.json': { chat_template: '<image>' },
        'additional_chat_templates/default.jinja': '<image>',
      },
      /has both chat_template\.json and templates in .*additional_chat_templates: keep one$/,
    ],
  ])('refuses what transformers does not load: %j', async (files, message) => {
    await expect(readPromptTemplate(await makeTemplates(files))).rejects.toThrow(message);
  });

  test('only a file that is not there falls through to the next', async () => {
    const dir = await makeTemplates({ 'tokenizer_config.json': { chat_template: '<image>' } });
    await mkdir(path.join(dir, 'chat_template.jinja'));
    await expect(readPromptTemplate(dir)).rejects.toThrow(
      new UserError(`cannot read ${path.join(dir, 'chat_template.jinja')}: it is a folder`),
    );
  });

  test.each([
    ['version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n', /is a git-lfs pointer/],
    [Buffer.from([0x3c, 0xff]), /is not UTF-8: byte \d+ is 0x/],
  ])('refuses a template file that is none', async (content, message) => {
    const dir = await makeFolder();
    await writeFile(path.join(dir, 'chat_template.jinja'), content);
    await expect(readPromptTemplate(dir)).rejects.toThrow(message);
  });

  test.each([
    ['Jinja that is none', '{% for %}'],
    ['a refusal of its own', '{{ raise_exception("only text") }}'],
    ['a range without bound', '{{ range(999999999)|list }}<image>'],
    ['loops without end', '{% for i in range(99999) %}{% for i in range(99999) %}{% endfor %}{% endfor %}'],
    [
      'a text that doubles',
      "{% set n = namespace(s='a') %}{% for i in range(90) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
    ],
    [
      'lists in lists',
      '{% set n = namespace(s=[]) %}{% for i in range(90) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s|tojson }}',
    ],
    ['macros in macros', '{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}'],
  ])('refuses %s at once, and renders the next', async (_, source) => {
    const dir = await makeTemplates({ 'chat_template.jinja': source });
    const prompt = await readPromptTemplate(dir);
    expect(() => prompt('')).toThrow(UserError);
    expect(() => prompt('')).toThrow(/^the chat template of .*chat_template\.jinja cannot be used: /);
    const good = await makeTemplates({ 'chat_template.jinja': template });
    expect((await readPromptTemplate(good))('Q')).toBe('[user]<image>;Q;GO');
  });

  test.each(['\n', '\r\n', '\r'])('makes one line end of all, and drops those of blocks: %j', async (end) => {
    const lines = [
      '{% if true %}',
      '  {% set x = 1 %}',
      '<image>',
      '{{ messages[0].content[1].text }}',
      '{% endif %}',
      'A:',
      '',
    ];
    const source = lines.join(end);
    for (const files of [
      { 'chat_template.jinja': source },
      { 'chat_template.json': { chat_template: source } },
    ]) {
      expect((await readPromptTemplate(await makeTemplates(files)))('Q')).toBe('<image>\nQ\nA:'); // jinja2
    }
  });

  test('knows every special token that transformers binds', async () => {
    const names = ['bos_token', 'unk_token', 'pad_token', 'image_token', 'boi', 'odd_token', 'sep_token'];
    const dir = await makeTemplates({
      'chat_template.jinja':
        names.map((name) => `{{ ${name} }}`).join('|') +
        '{{ tools is none }}{{ eos_token is defined }}<image>',
      'tokenizer_config.json': {
        bos_token: '<s>',
        unk_token: { content: '<unk>' },
        odd_token: '<odd>',
        extra_special_tokens: { image_token: '<image>', boi: '<boi>' },
      },
      'special_tokens_map.json': { pad_token: { content: '<pad>' } },
    });
    expect((await readPromptTemplate(dir))('')).toBe('<s>|<unk>|<pad>|<image>|<boi>|<odd>|truefalse<image>');
  });

  test.each([
    ['[INST]', "{{ '[INST] ' + messages[0]['content'] + ' [/INST]' }}", '[INST] <image>\nQ? [/INST]'],
    ['trim', '{{ messages[0].content | trim }}|', '<image>\nQ?|'],
    ['in place', '{{ messages[0].content }}|', '<image>\nQ?|'],
  ])('gives a template that takes plain text its content as text: %s', async (_, source, expected) => {
    expect((await readPromptTemplate(await makeTemplates({ 'chat_template.jinja': source })))('Q?')).toBe(
      expected,
    );
  });

  test('a prompt without an image token says why, and what to do', async () => {
    const dir = await makeTemplates({ 'chat_template.jinja': 'no {{ bos_token }} picture' });
    const prompt = await readPromptTemplate(dir);
    expect(() => prompt('Q')).toThrow(
      new UserError(
        `the chat template of ${path.join(dir, 'chat_template.jinja')} makes a prompt without <image>: ` +
          '"no  picture"; give another by --template, or the whole prompt by --prompt',
      ),
    );
  });

  test('takes the file that the user names', async () => {
    const dir = await makeTemplates({ 'chat_template.jinja': '1<image>', 'other': '2<image>' });
    expect((await readPromptTemplate(dir, { template: path.join(dir, 'other') }))('')).toBe('2<image>');
    const missing = path.join(dir, 'missing');
    await expect(readPromptTemplate(dir, { template: missing })).rejects.toThrow(
      new UserError(`cannot read ${missing}: there is no such file or folder`),
    );
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

describe('cutAtImages', () => {
  const image = 99;
  const text = fc.array(fc.nat({ max: 98 }), { maxLength: 4 });
  const run = (count: number) => Array.from({ length: count }, () => image);

  test('gives what stands before, between and after, whether each has one token or one for each visual', () => {
    fc.assert(
      fc.property(
        text,
        fc.array(text, { minLength: 1, maxLength: 4 }),
        text,
        fc.boolean(),
        (before, between, after, whole) => {
          // prettier-ignore
          const each = whole ? 7 : 1;
          const pictures = between.length + 1;
          const ids = [
            ...before,
            ...run(each),
            ...between.flatMap((one) => [...one, ...run(each)]),
            ...after,
          ];
          const prompt = cutAtImages(ids, image, 7, pictures);
          expect(prompt).toEqual({ before, between, after });
          expect(countPictures(prompt)).toBe(pictures);
          expect(textOf(prompt)).toEqual([...before, ...between.flat(), ...after]);
        },
      ),
    );
  });

  test('at a single token all pictures stand in a row', () => {
    expect(cutAtImages([1, 99, 2], image, 7, 3)).toEqual({ before: [1], between: [[], []], after: [2] });
  });

  test('of one picture it is cutAtImage', () => {
    expect(cutAtImages([1, 99, 2], image, 7, 1)).toEqual(cutAtImage([1, 99, 2], image, 7));
    expect(countPictures({ before: [1], after: [] })).toBe(1);
  });

  test.each([
    [[1, 2], 'the prompt has no image token (99)'],
    [
      [99, 99, 99],
      'the prompt has 3 image tokens (99), but 2 pictures take 1 together, or 1 or 3 each in a row',
    ],
    [
      [99, 99, 1, 99, 99, 99, 99],
      'the prompt has 6 image tokens (99), but 2 pictures take 1 together, or 1 or 3 each in a row',
    ],
  ])('refuses %j', (ids, message) => {
    expect(() => cutAtImages(ids, image, 3, 2)).toThrow(new UserError(message));
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
