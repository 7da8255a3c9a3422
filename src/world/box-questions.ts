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
