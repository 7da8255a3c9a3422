/** Tasks from files: JSON lines of questions, and a folder of the pictures that they name. */
import { isUtf8 } from 'node:buffer';
import path from 'node:path';
import { UserError } from '../../errors.ts';
import { readWhole, reasonOf } from '../../node/files.ts';
import { checkImage, decodeImage } from '../../node/decode.ts';
import { parseStrictJson } from '../../io/strict-json.ts';
import { fieldReader, isObject, type JsonObject } from '../../json.ts';
import type { ScoringName } from './scoring.ts';
import type { Task, TaskPicture, TaskQuestion } from './task.ts';

export interface QuestionFile {
  /** JSON lines in the form of {@link readers}. */
  file: string;
  /** The folder of the pictures. */
  images: string;
  scoring: ScoringName;
  /** The first so many questions; all where absent. */
  count?: number;
  /** Added to every question: ` Answer with one word.` */
  suffix?: string;
}

type Asked = Omit<TaskQuestion, 'picture'>;
type Fields = ReturnType<typeof fieldReader>;

/** Of one line, each form's question and right answer; `image` names the picture's file in all of them. */
const readers: Record<ScoringName, (fields: Fields, line: JsonObject, where: string) => Asked> = {
  /** What `vtc world` writes: `id`, `question`, `answer`; `type` where there are several; `choices`, all that an answer may be. */
  exact: (fields, line, where) => ({
    id: fields.name('id'),
    question: fields.text('question'),
    answer: fields.text('answer'),
    type: fields.text('type', 'all'),
    ...(line['choices'] !== undefined && { choices: readTexts(line['choices'], `${where}: choices`) }),
  }),
  /** `question_id`, `text`, `label` yes or no; `category` where a file joins several. */
  pope: (fields) => ({
    id: fields.name('question_id'),
    question: fields.text('text'),
    answer: fields.choice('label', ['yes', 'no']),
    choices: ['yes', 'no'],
    type: fields.text('category', 'all'),
  }),
  /** `question_id`, `question`, and `answers` of several people or one `answer`; `answer_type` where there is one. */
  vqa: (fields, line, where) => {
    const answers =
      line['answers'] === undefined ? [fields.text('answer')] : readAnswers(line['answers'], where);
    return {
      id: fields.name('question_id'),
      question: fields.text('question'),
      answer: answers[0],
      answers,
      type: fields.text('answer_type', 'all'),
    };
  },
};

/** Plain words, or objects that hold them as `answer`, as VQA's annotations do. */
function readAnswers(value: unknown, where: string): string[] {
  const words = Array.isArray(value)
    ? value.map((one: unknown) => (isObject(one) ? one['answer'] : one))
    : [];
  if (words.length === 0 || !words.every((word) => typeof word === 'string')) {
    throw new UserError(`${where}: answers should be a list of texts or of objects with an answer`);
  }
  return words;
}

function readTexts(value: unknown, what: string): string[] {
  const isTexts = Array.isArray(value) && value.every((word) => typeof word === 'string');
  if (!isTexts || value.length === 0) throw new UserError(`${what} should be a list of texts`);
  return value;
}

/** The key under which each form has a question's id. */
const idKeys: Record<ScoringName, string> = { exact: 'id', pope: 'question_id', vqa: 'question_id' };

/**
 * Reads a task, and looks at the beginning of each of its pictures.
 * @throws UserError that names the file and the line
 */
export async function readTask({ file, images, scoring, count, suffix = '' }: QuestionFile): Promise<Task> {
  const pictures: TaskPicture[] = [];
  const places = new Map<string, number>();
  const questions: TaskQuestion[] = [];
  const lines = new Map<string, number>(); // by id
  const bytes = await readBytes(file);
  refuseDocument(bytes, file);
  for (const [number, text] of readLines(bytes, file)) {
    if (questions.length === count) break;
    if (text.trim() === '') continue;
    const where = `${file}, line ${number}`;
    const line = parseStrictJson(text, where);
    if (!isObject(line)) throw new UserError(`${where} should hold a JSON object`);
    const fields = fieldReader(line, where);
    const { question, ...asked } = readers[scoring](fields, line, where);
    const before = lines.get(asked.id);
    if (before !== undefined) {
      const told = `${idKeys[scoring]} ${JSON.stringify(asked.id)}`;
      throw new UserError(`${where}: ${told} is that of line ${before} already`);
    }
    lines.set(asked.id, number);
    const image = fields.text('image');
    if (!places.has(image)) {
      const picture = path.join(images, checkInside(image, where));
      await checkImage(picture).catch((error: unknown) => {
        throw error instanceof UserError ? new UserError(`${where}: ${error.message}`) : error;
      });
      places.set(image, pictures.length);
      pictures.push({ id: image, read: (config) => decodeImage(picture, config) });
    }
    questions.push({ ...asked, question: question + suffix, picture: places.get(image)! });
  }
  if (questions.length === 0) throw new UserError(`${file} holds no question`);
  const part = count === undefined ? '' : `, the first ${questions.length} questions`;
  return { name: `${scoring}, ${path.basename(file)}${part}`, scoring, pictures, questions };
}

/** A file from elsewhere must not make us read others than those of the folder; links in it are its owner's. */
function checkInside(image: string, where: string): string {
  if (image === '' || /^([/\\]|[a-z]:[/\\])|\0/i.test(image) || image.split(/[/\\]/).includes('..')) {
    throw new UserError(
      `${where}: image ${JSON.stringify(image)} is not the name of a file in the folder of the pictures`,
    );
  }
  return image;
}

async function readBytes(file: string): Promise<Buffer> {
  try {
    return await readWhole(file);
  } catch (error) {
    throw new UserError(`cannot read the questions ${file}: ${reasonOf(error)}`);
  }
}

/** Each line with its number, from 1. */
function* readLines(bytes: Buffer, file: string): Generator<[number: number, text: string]> {
  let from = 0;
  for (let number = 1; from <= bytes.length; number++) {
    const end = bytes.indexOf(10, from);
    const line = bytes.subarray(from, end < 0 ? bytes.length : end);
    const text = line.toString('utf8');
    if (!isUtf8(line)) {
      const place = findBadByte(line, text);
      const byte = `0x${line[place].toString(16).padStart(2, '0')}`;
      throw new UserError(
        `${file}, line ${number}: byte ${place + 1}, ${byte}, is not UTF-8: save the file as UTF-8`,
      );
    }
    yield [number, number === 1 ? text.replace(/^\uFEFF/, '') : text]; // Windows' editors begin with a mark
    from += line.length + 1;
  }
}

/** The first byte that is no UTF-8: it was read as U+FFFD, but does not spell it. */
function findBadByte(line: Buffer, text: string): number {
  let place = 0;
  for (const part of text.split('\uFFFD')) {
    place += Buffer.byteLength(part);
    if (line.toString('latin1', place, place + 3) !== '\xef\xbf\xbd') return place;
    place += 3;
  }
  throw new Error('all of it is UTF-8');
}

/**
 * What is published as one JSON document is named for what it is.
 * @throws UserError with the next step
 */
function refuseDocument(bytes: Buffer, file: string): void {
  const start = bytes
    .toString('latin1', 0, 4096)
    .replace(/^\xef\xbb\xbf/, '')
    .trimStart();
  const isWhole = (text: string) => {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      return undefined;
    }
  };
  // One line that holds a document is told from a question by its lists; several lines that are JSON together, by the first.
  const first = start.split('\n')[0];
  const isList = start.startsWith('[');
  const isSpread = start.startsWith('{') && start.includes('\n') && isWhole(first) === undefined;
  const isVqa = /^\{.{0,4000}"(questions|annotations)"\s*:\s*\[/s.test(start);
  if (!isList && !isSpread && !isVqa) return;
  if (bytes.length > longestDocument) return;
  const document = isWhole(bytes.toString('utf8').replace(/^\uFEFF/, ''));
  if (document === undefined) return; // what is wrong with it is told by its line
  const lines = 'not JSON lines, one object a line';
  if (Array.isArray(document)) {
    const next = "jq -c '.[]' makes such lines of it";
    throw new UserError(`${file} is a JSON list of ${document.length}, ${lines}: ${next}`);
  }
  if (!isObject(document)) return;
  const [asked, answered] = [document['questions'], document['annotations']];
  if (Array.isArray(asked) || Array.isArray(answered)) {
    const what = Array.isArray(asked)
      ? `${asked.length} questions`
      : `${(answered as unknown[]).length} answers`;
    throw new UserError(
      `${file} is VQA's own document of ${what}, ${lines}: join its questions and annotations by question_id, ` +
        `and give each question_id, image, question and answers`,
    );
  }
  if (isSpread)
    throw new UserError(`${file} is one JSON object over several lines, ${lines}: jq -c . joins them`);
}

/** A text cannot be longer. */
const longestDocument = 2 ** 29 - 25;
