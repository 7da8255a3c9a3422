/**
 * Question files of each form: bytes, encodings, keys, values, ids and pictures' names changed, lines cut, joined, doubled
 * and nested, and the documents that are no JSON lines.
 */
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { readTask } from '../../../src/eval/task/question-file.ts';
import { scorings, type ScoringName } from '../../../src/eval/task/scoring.ts';
import { encodePng } from '../../../src/node/decode.ts';
import { pick, type Random } from '../../../src/random.ts';
import type { Fuzz } from '../fuzz.ts';

type Line = Record<string, unknown>;

const good: Record<ScoringName, (i: number) => Line> = {
  exact: (id) => ({ id, image: 'a.png', question: 'what ?', answer: 'red', type: 'colour' }),
  pope: (id) => ({ question_id: id, image: 'b/c.png', text: 'Is it?', label: 'no', category: 'x' }),
  vqa: (id) => ({
    question_id: id,
    image: 'a.png',
    question: 'what ?',
    answers: ['red', { answer: 'blue' }],
  }),
};
const names = [
  '',
  '.',
  '..',
  '/',
  'b',
  'none.png',
  '../a.png',
  '/etc/passwd',
  'words.png',
  'empty.png',
  'circle',
];
const values = [
  null,
  0,
  -1,
  1e999,
  NaN,
  true,
  '',
  '\0',
  '\n',
  '\uFEFF',
  '<image>',
  'yes',
  [],
  {},
  [[]],
  [{}],
  [1],
  '__proto__',
];

/** What changes a line, or several. */
const lineChanges: Record<string, (line: Line, random: Random) => void> = {
  'nothing': () => undefined,
  'a value': (line, random) => (line[pick(random, Object.keys(line))] = pick(random, values)),
  'a key left out': (line, random) => delete line[pick(random, Object.keys(line))],
  'a key added': (line, random) => (line[`${pick(random, values) as string}`] = pick(random, values)),
  'a picture': (line, random) => (line['image'] = pick(random, [...names, ...values, 'x'.repeat(5000)])),
  'an id': (line, random) => {
    for (const key of ['id', 'question_id'])
      if (key in line) line[key] = pick(random, [0, '0', 1, 1.5, 2 ** 60, ...values]);
  },
};
const textChanges: Record<string, (text: string, random: Random) => string> = {
  'nothing': (text) => text,
  'cut': (text, random) => text.slice(0, random() * text.length),
  'a character': (text, random) => {
    const at = Math.floor(random() * text.length);
    return text.slice(0, at) + pick(random, [...'{}[]",:\\\n\r\0\u2028é0-']) + text.slice(at + 1);
  },
  'lines joined': (text) => text.replaceAll('\n', ''),
  'doubled': (text) => `${text}\n${text}`,
  'a list': (text) => `[${text.replaceAll('\n', ',\n')}]`,
  'a document': (text, random) =>
    `{"${pick(random, ['questions', 'annotations'])}":[${text.replaceAll('\n', ',')}]}`,
  'nested': (text, random) => {
    const depth = Math.floor(10 ** (5 * random()));
    return text.replace(/:/, `:${'['.repeat(depth)}${random() < 0.5 ? ']'.repeat(depth) : ''}`);
  },
  'a key twice': (text) => text.replace(/("\w+":)/, '$1 0, $1'),
  'line ends': (text, random) => text.replaceAll('\n', pick(random, ['\r\n', '\r', '\n\n', '\u2028'])),
  'long': (text, random) => text.replace('?', '?'.repeat(10 ** (5 * random()))),
};
const byteChanges: Record<string, (text: string, random: Random) => Buffer> = {
  'UTF-8': (text) => Buffer.from(text),
  'a mark': (text) => Buffer.from(`\uFEFF${text}`),
  'UTF-16': (text) => Buffer.from(`\uFEFF${text}`, 'utf16le'),
  'Latin-1': (text) => Buffer.from(text.replace('?', 'é?'), 'latin1'),
  'a byte': (text, random) => {
    const bytes = Buffer.from(text);
    if (bytes.length > 0) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    return bytes;
  },
};

/** Mostly nothing is changed here, so that the other changes are seen. */
const choose = <T>(random: Random, of: Record<string, T>): [string, T] =>
  random() < 0.5 ? Object.entries(of)[0] : pick(random, Object.entries(of));

export const questions: Fuzz = {
  async prepare(folder) {
    const picture = { width: 1, height: 1, data: new Uint8Array(3) };
    await mkdir(path.join(folder, 'b'));
    for (const name of ['a.png', 'b/c.png']) await encodePng(picture, path.join(folder, name));
    await writeFile(path.join(folder, 'words.png'), 'words');
    await writeFile(path.join(folder, 'empty.png'), '');
    await symlink('circle', path.join(folder, 'circle'));
    const file = path.join(folder, 'questions.jsonl');
    return async (random) => {
      const scoring = pick(random, Object.keys(scorings) as ScoringName[]);
      const lines = Array.from({ length: Math.floor(6 * random()) }, (_, i) => good[scoring](i));
      const [ofLine, changeLine] = choose(random, lineChanges);
      if (lines.length > 0) changeLine(pick(random, lines), random);
      const [ofText, changeText] = choose(random, textChanges);
      const text = changeText(lines.map((line) => JSON.stringify(line)).join('\n'), random);
      const [ofBytes, changeBytes] = choose(random, byteChanges);
      await writeFile(file, changeBytes(text, random));
      const count = random() < 0.2 ? 1 : undefined;
      return {
        what: `${scoring}: ${ofLine}; ${ofText}; ${ofBytes}`,
        run: () => readTask({ file, images: folder, scoring, count }),
      };
    };
  },
};
