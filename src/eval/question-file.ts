/** Tasks from files: JSON lines of questions, and a folder of the pictures that they name. */
import { access } from 'node:fs/promises';
import path from 'node:path';
import { messageOf, UserError } from '../errors.ts';
import { readWhole, reasonOf } from '../files.ts';
import { decodeImage } from '../image/decode.ts';
import { fieldReader, isObject, type JsonObject } from '../json.ts';
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
  /** What `vtc world` writes: `id`, `question`, `answer`, and `type` where there are several. */
  exact: (fields) => ({
    id: fields.name('id'),
    question: fields.text('question'),
    answer: fields.text('answer'),
    type: fields.text('type', 'all'),
  }),
  /** `question_id`, `text`, `label` yes or no; `category` where a file joins several. */
  pope: (fields) => ({
    id: fields.name('question_id'),
    question: fields.text('text'),
    answer: fields.choice('label', ['yes', 'no']),
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

/**
 * Reads a task, and looks whether all of its pictures are there.
 * @throws UserError that names the file and the line
 */
export async function readTask({ file, images, scoring, count, suffix = '' }: QuestionFile): Promise<Task> {
  const pictures: TaskPicture[] = [];
  const places = new Map<string, number>();
  const questions: TaskQuestion[] = [];
  for (const [number, text] of (await readLines(file)).entries()) {
    if (text.trim() === '' || questions.length === count) continue;
    const where = `${file}, line ${number + 1}`;
    const line = parseLine(text, where);
    const fields = fieldReader(line, where);
    const { question, ...asked } = readers[scoring](fields, line, where);
    const image = fields.text('image');
    if (!places.has(image)) {
      const picture = path.join(images, image);
      await access(picture).catch((error: unknown) => {
        throw new UserError(`${where}: cannot read the image ${picture}: ${reasonOf(error)}`);
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

async function readLines(file: string): Promise<string[]> {
  try {
    return (await readWhole(file)).toString('utf8').split('\n');
  } catch (error) {
    throw new UserError(`cannot read the questions ${file}: ${reasonOf(error)}`);
  }
}

function parseLine(text: string, where: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UserError(`${where} is not JSON: ${messageOf(error).replaceAll('\n', ' ')}`);
  }
  if (!isObject(value)) throw new UserError(`${where} should hold a JSON object`);
  return value;
}
