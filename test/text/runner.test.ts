import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { inPlace } from '../../src/text/runner.ts';
import { readPromptTemplate } from '../../src/text/prompt.ts';
import { readTokenizer } from '../../src/text/tokenizer.ts';
import { diskFolder } from '../../src/node/folder.ts';
import { bounded } from '../../src/node/runner.ts';

const shipped = diskFolder(path.join(import.meta.dirname, '../../weights/llava'));

describe.each([
  ['in place', inPlace],
  ['within bounds', bounded],
])('what comes with a folder, run %s', (_, runner) => {
  test('a template', () => {
    const source = '{% for m in messages %}\r\n{{ m.role }}: {{ m.content }}{% endfor %}';
    expect(runner.render(source, { messages: [{ role: 'user', content: 'é' }] })).toBe('user: é');
    expect(() => runner.render('{% for %}', {})).toThrow();
  });

  test("the shipped model's prompt and tokens", async () => {
    const prompt = (await readPromptTemplate(shipped, {}, runner))('what is there ?');
    expect(prompt).toContain('what is there ?');
    const tokenizer = await readTokenizer(shipped, 1, runner);
    expect(tokenizer.decode(tokenizer.encodePlain('what is there ?'))).toBe('what is there ?');
  });
});
