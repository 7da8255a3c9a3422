import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { readTask } from '../../src/eval/task/question-file.ts';
import type { ScoringName } from '../../src/eval/task/scoring.ts';
import { encodePng, encodePngBytes } from '../../src/node/decode.ts';
import { clipPreprocess } from '../../src/image/preprocess.ts';

const images = await mkdtemp(path.join(tmpdir(), 'vtc-cls-questions-'));
afterAll(() => rm(images, { recursive: true, force: true }));
for (const [name, grey] of [
  ['a.png', 10],
  ['b.png', 20],
] as const) {
  await encodePng({ width: 2, height: 1, data: new Uint8Array(6).fill(grey) }, path.join(images, name));
}

await writeFile(path.join(images, 'empty.png'), '');
await writeFile(path.join(images, 'words.png'), 'not a picture');

let files = 0;
async function writeLines(...lines: (object | string)[]): Promise<string> {
  const file = path.join(images, `questions-${files++}.jsonl`);
  const told = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line)));
  await writeFile(file, told.join('\n'));
  return file;
}
const read = (scoring: ScoringName, file: string, more = {}) => readTask({ file, images, scoring, ...more });

test("POPE's lines", async () => {
  const file = await writeLines(
    { question_id: 1, image: 'b.png', text: 'Is there a dog?', label: 'yes' },
    '',
    { question_id: 2, image: 'a.png', text: 'Is there a cat?', label: 'no', category: 'popular' },
    { question_id: 3, image: 'b.png', text: 'Is there a cow?', label: 'no' },
  );
  const choices = ['yes', 'no'];
  const task = await read('pope', file);
  expect(task).toMatchObject({ name: `pope, ${path.basename(file)}`, scoring: 'pope' });
  expect(task.questions).toEqual([
    { id: '1', picture: 0, question: 'Is there a dog?', answer: 'yes', choices, type: 'all' },
    { id: '2', picture: 1, question: 'Is there a cat?', answer: 'no', choices, type: 'popular' },
    { id: '3', picture: 0, question: 'Is there a cow?', answer: 'no', choices, type: 'all' },
  ]);
  expect(task.pictures.map(({ id }) => id)).toEqual(['b.png', 'a.png']);
  expect((await task.pictures[1].read()).data).toEqual(new Uint8Array(6).fill(10));
});

test('a picture that is read for a model which would make it too large is refused before it is decoded', async () => {
  const png = await encodePngBytes({ width: 1, height: 60_000, data: new Uint8Array(180_000) });
  await writeFile(path.join(images, 'thin.png'), png.subarray(0, png.length >> 1)); // its pixels cannot be read
  const file = await writeLines({ id: 1, image: 'thin.png', question: 'what ?', answer: 'this' });
  const { pictures } = await read('exact', file);
  await expect(async () => pictures[0].read(clipPreprocess(336))).rejects.toThrow(
    /thin\.png of 1 × 60000 pixels, resized, has 336 × 20160000 = /,
  );
});

test("VQA's lines: ten answers as words or as objects, or one", async () => {
  const asked = { image: 'a.png', question: 'what ?' };
  const file = await writeLines(
    { question_id: 'x', ...asked, answers: ['red', 'blue'], answer_type: 'other' },
    { question_id: 'y', ...asked, answers: [{ answer: 'red', answer_id: 1 }, { answer: 'dark red' }] },
    { question_id: 'z', ...asked, answer: 'red' },
  );
  const { questions } = await read('vqa', file, { suffix: ' Be brief.' });
  expect(questions.map(({ answers }) => answers)).toEqual([['red', 'blue'], ['red', 'dark red'], ['red']]);
  expect(questions.map(({ type }) => type)).toEqual(['other', 'all', 'all']);
  expect(questions[0]).toMatchObject({ answer: 'red', question: 'what ? Be brief.' });
});

test('the first questions of a file, under a name that says so', async () => {
  const line = { image: 'a.png', question: 'what ?', answer: 'this', type: 'colour' };
  const file = await writeLines({ id: 'q1', ...line }, { id: 'q2', ...line });
  const task = await read('exact', file, { count: 1 });
  expect(task.questions.map(({ id, type }) => `${id} ${type}`)).toEqual(['q1 colour']);
  expect(task.name).toBe(`exact, ${path.basename(file)}, the first 1 questions`);
});

const good = { question_id: 1, image: 'a.png', text: 'Is it?', label: 'yes' };
test.each<[ScoringName, object | string, string]>([
  ['pope', '{"a": ', 'line 2 is not JSON: '],
  ['pope', '"1"', 'line 2 should hold a JSON object'],
  ['pope', { ...good, label: 'maybe' }, 'line 2: label should be one of yes, no, is "maybe"'],
  ['pope', { ...good, text: undefined }, 'line 2: text is missing'],
  ['pope', { ...good, text: 7 }, 'line 2: text should be a text, is 7'],
  ['pope', { ...good, question_id: true }, 'line 2: question_id should be a text or a number, is true'],
  [
    'pope',
    { ...good, image: 'c.png' },
    `line 2: cannot read the image ${path.join(images, 'c.png')}: there is no`,
  ],
  ['vqa', { ...good, question: 'what ?' }, 'line 2: answer is missing'],
  ['vqa', { ...good, question: 'what ?', answers: [] }, 'line 2: answers should be a list of texts or'],
  ['vqa', { ...good, question: 'what ?', answers: [{}] }, 'line 2: answers should be a list of texts or'],
  ['exact', good, 'line 2: id is missing'],
  ['pope', '{"question_id": 1, "text": "", "text": "Is it?"}', 'line 2 has the key "text" twice'],
  ['pope', { ...good, image: '/etc/a.png' }, 'line 2: image "/etc/a.png" is not the name of a file in'],
  ['pope', { ...good, image: 'C:\\a.png' }, 'line 2: image "C:\\\\a.png" is not the name of'],
  ['pope', { ...good, image: 'x/../../a.png' }, 'line 2: image "x/../../a.png" is not the name of a file in'],
  ['pope', { ...good, image: '' }, 'line 2: image "" is not the name of a file in'],
  ['pope', { ...good, image: '.' }, `line 2: cannot read the image ${images}: it is not a regular file`],
  ['pope', { ...good, image: 'empty.png' }, `line 2: ${path.join(images, 'empty.png')} is empty`],
  ['pope', { ...good, image: 'words.png' }, `line 2: ${path.join(images, 'words.png')} is not an image`],
])('%s: %j is refused by file and line', async (scoring, line, message) => {
  const file = await writeLines('', line);
  const reading = read(scoring, file);
  await expect(reading).rejects.toThrow(UserError);
  await expect(reading).rejects.toThrow(`${file}, ${message}`);
});

test('a file without questions, or no file, is refused', async () => {
  const file = await writeLines('', ' ');
  await expect(read('pope', file)).rejects.toThrow(`${file} holds no question`);
  await expect(read('pope', `${file}.none`)).rejects.toThrow(
    `cannot read the questions ${file}.none: there is no`,
  );
});

test('an id that comes twice is refused by its second line, a text and a number alike', async () => {
  const file = await writeLines(good, '', { ...good, question_id: 2 }, { ...good, question_id: '1' });
  await expect(read('pope', file)).rejects.toThrow(
    `${file}, line 4: question_id "1" is that of line 1 already`,
  );
  expect((await read('pope', file, { count: 2 })).questions).toHaveLength(2);
});

test('text that is not UTF-8 is refused by line and byte; a byte order mark is none of it', async () => {
  const file = await writeLines(good);
  const line = (text: string) => Buffer.from(JSON.stringify({ ...good, question_id: 2, text }));
  const fine = line('\uFFFD, 何?');
  await writeFile(
    file,
    Buffer.concat([Buffer.from('\uFEFF'), line('').fill(' '), Buffer.from('\r\n'), fine]),
  );
  expect((await read('pope', file)).questions[0].question).toBe('\uFFFD, 何?');
  const latin1 = Buffer.from(fine.toString().replace('何', 'sm\xe1ll'), 'utf8');
  const byte = latin1.indexOf('á');
  const broken = Buffer.concat([latin1.subarray(0, byte), Buffer.from([0xe1]), latin1.subarray(byte + 2)]);
  await writeFile(file, Buffer.concat([Buffer.from('\n'), broken]));
  await expect(read('pope', file)).rejects.toThrow(
    `${file}, line 2: byte ${byte + 1}, 0xe1, is not UTF-8: save the file as UTF-8`,
  );
});

const asked = { question_id: 1, image_id: 1, question: 'what ?' };
test.each<[object | string, string]>([
  [[good, good], "is a JSON list of 2, not JSON lines, one object a line: jq -c '.[]' makes"],
  [JSON.stringify([good], null, 2), 'is a JSON list of 1, not JSON lines'],
  [{ info: {}, questions: [asked] }, "is VQA's own document of 1 questions, not JSON lines"],
  [{ annotations: [{}, {}], info: {} }, "is VQA's own document of 2 answers, not JSON lines"],
  [JSON.stringify({ questions: [] }, null, 2), "is VQA's own document of 0 questions, not JSON lines"],
  [JSON.stringify(good, null, 2), 'is one JSON object over several lines, not JSON lines'],
])('what is published as one document is named: %j', async (document, message) => {
  const file = await writeLines(document);
  const reading = read('vqa', file);
  await expect(reading).rejects.toThrow(UserError);
  await expect(reading).rejects.toThrow(`${file} ${message}`);
});
