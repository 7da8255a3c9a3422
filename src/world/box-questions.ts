/** Questions that are asked and answered with boxes, for a model that has a token for one. They are apart from the others. */
import { createRandom, type Random } from '../random.ts';
import { nameObject } from './names.ts';
import type { Scene } from './scene.ts';
import { hashText } from './split.ts';
import { side, type Box } from './things.ts';

export const boxQuestionTypes = ['locate', 'identify'] as const;
export type BoxQuestionType = (typeof boxQuestionTypes)[number];

/** `<loc>` stands for the box, once in each question or its answer. */
export interface BoxQuestion {
  /** The scene's id and a number, such as `test-000123-b2`. */
  id: string;
  type: BoxQuestionType;
  question: string;
  answer: string;
  /** In shares of the picture's side. */
  box: Box;
}

/**
 * Two questions about each object, in the scene's order: `locate the red ring`, answered by `<loc>`, and `what is <loc> ?`,
 * answered by colour and kind.
 * @param random which of its names an object goes by; the scene's own, unless given: the same questions each time
 */
export function askBoxes(
  { id, objects }: Scene,
  random: Random = createRandom(hashText(`${id} boxes`)),
): BoxQuestion[] {
  const asked = objects.flatMap((object): Omit<BoxQuestion, 'id'>[] => {
    const box = shareOf(object.box);
    const name = nameObject(object, objects, random)!; // no two look alike, so each has one
    return [
      { type: 'locate', question: `locate the ${name}`, answer: '<loc>', box },
      { type: 'identify', question: 'what is <loc> ?', answer: `${object.colour} ${object.kind}`, box },
    ];
  });
  return asked.map((question, i) => ({ id: `${id}-b${i}`, ...question }));
}

/** A box in pixels as shares of the picture's side. */
export const shareOf = ([x0, y0, x1, y1]: Box): Box => [x0 / side, y0 / side, x1 / side, y1 / side];

/** Intersection over union: 1 for the same box, 0 for boxes apart or of no area. */
export function overlap(a: readonly number[], b: readonly number[]): number {
  const length = (from: number, to: number) => Math.max(0, to - from);
  const area = ([x0, y0, x1, y1]: readonly number[]) => length(x0, x1) * length(y0, y1);
  const both =
    length(Math.max(a[0], b[0]), Math.min(a[2], b[2])) * length(Math.max(a[1], b[1]), Math.min(a[3], b[3]));
  const union = area(a) + area(b) - both;
  return union > 0 ? both / union : 0;
}
