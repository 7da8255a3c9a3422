import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { chapters } from './chapters.ts';

/**
 * What `npm run study` does: nothing given, it lists the chapters; a number, it runs that chapter; a number and
 * `solutions`, those of its exercises. A chapter frees nothing by hand: its tensors go when it ends.
 * @throws UserError for anything else
 */
export async function study([number, part, ...rest]: readonly string[]): Promise<void> {
  if (number === undefined) return console.log(listChapters());
  const chapter = /^[0-9]+$/.test(number) ? chapters[Number(number) - 1] : undefined;
  if (!chapter)
    throw new UserError(`study ${number}: is no chapter; give a number from 1 to ${chapters.length}`);
  if ((part !== undefined && part !== 'solutions') || rest.length > 0) {
    throw new UserError(`study ${number}: only "solutions" may follow, not "${[part, ...rest].join(' ')}"`);
  }
  await import('./desk.ts'); // first: the model outlives the chapter
  tf.engine().startScope();
  try {
    await (part ? chapter.solve() : chapter.read());
  } finally {
    tf.engine().endScope();
  }
}

function listChapters(): string {
  const width = Math.max(...chapters.map(({ title }) => title.length));
  const lines = chapters.map(
    ({ title, question }, i) => `${String(i + 1).padStart(2)}  ${title.padEnd(width)}  ${question}`,
  );
  return [
    ...lines,
    '',
    'npm run study 3            runs a chapter',
    'npm run study 3 solutions  solves its exercises',
  ].join('\n');
}
