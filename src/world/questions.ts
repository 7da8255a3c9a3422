import { createRandom, pick, shuffle, type Random } from '../random.ts';
import { nameObject } from './names.ts';
import { createScene, type Scene } from './scene.ts';
import { hashText, type Split } from './split.ts';
import {
  colourNames,
  isHeldOut,
  letters,
  quadrantOf,
  quadrants,
  shapes,
  sizeNames,
  type Box,
  type SceneObject,
} from './things.ts';

export type QuestionType = (typeof questionTypes)[number];
// prettier-ignore
export const questionTypes = [
  'colour', 'shape', 'size', 'existence', 'count', 'quadrant', 'relation', 'letter',
] as const;

export interface Question {
  /** The scene's id and a number, such as `test-000123-q4`. */
  id: string;
  type: QuestionType;
  /** Lower-case words and punctuation, single spaces between: `what color is the small circle ?` */
  question: string;
  /** One word. */
  answer: string;
  /** Of the objects that it speaks of; none where the answer is no. */
  boxes: Box[];
}

type Asked = Pick<Question, 'question' | 'answer' | 'boxes'>;
/** @returns undefined where the scene does not allow the question */
type Asker = (objects: readonly SceneObject[], random: Random) => Asked | undefined;

export const counts = ['one', 'two', 'three'] as const; // mostShapes of them

/** Every answer that a question of a type may have. */
export const choicesOf: Record<QuestionType, readonly string[]> = {
  colour: colourNames,
  shape: shapes,
  size: sizeNames,
  existence: ['yes', 'no'],
  count: counts,
  quadrant: quadrants,
  relation: ['left', 'right', 'above', 'below'],
  letter: letters,
};

const isShape = ({ kind }: SceneObject): boolean => kind !== 'letter';

/** Asks about one object by a name that means it alone. */
function askOne(
  ask: (name: string) => string,
  answer: (object: SceneObject) => string,
  { hidden, only = () => true }: { hidden?: 'colour' | 'kind' | 'size'; only?: typeof isShape } = {},
): Asker {
  return (objects, random) => {
    for (const object of shuffle(random, objects.filter(only))) {
      const name = nameObject(object, objects, random, hidden);
      if (name) return { question: ask(name), answer: answer(object), boxes: [object.box] };
    }
    return undefined;
  };
}

const askers: Record<QuestionType, Asker> = {
  colour: askOne(
    (name) => `what color is the ${name} ?`,
    ({ colour }) => colour,
    { hidden: 'colour' },
  ),
  shape: askOne(
    (name) => `what shape is the ${name} ?`,
    ({ kind }) => kind,
    { hidden: 'kind', only: isShape },
  ),
  size: askOne(
    (name) => `what size is the ${name} ?`,
    ({ size }) => size,
    { hidden: 'size', only: isShape },
  ),
  quadrant: askOne(
    (name) => `where is the ${name} ?`,
    ({ box }) => quadrantOf(box),
  ),
  existence: askExistence,
  relation: askRelation,
  count: (objects) => {
    const boxes = objects.filter(isShape).map(({ box }) => box);
    return { question: 'how many shapes are there ?', answer: counts[boxes.length - 1], boxes };
  },
  letter: (objects) => {
    const found = objects.find(({ letter }) => letter);
    return found && { question: 'what letter is there ?', answer: found.letter!, boxes: [found.box] };
  },
};

/**
 * `is there a [small] red circle ?` A no is a near miss: one attribute away from an object that is there. Pairs that are
 * held out are asked for only where one stands in the picture.
 */
function askExistence(all: readonly SceneObject[], random: Random): Asked {
  const objects = all.filter(isShape);
  const askedSizes = random() < 0.5 ? sizeNames : [undefined];
  type Look = Pick<SceneObject, 'colour' | 'kind'> & { size: SceneObject['size'] | undefined };
  const differences = (look: Look, object: SceneObject) =>
    Number(look.colour !== object.colour) +
    Number(look.kind !== object.kind) +
    Number(look.size !== undefined && look.size !== object.size);
  const ask = ({ size, colour, kind }: Look) => `is there a ${size ? `${size} ` : ''}${colour} ${kind} ?`;

  if (random() < 0.5) {
    const { colour, kind, size, box } = pick(random, objects);
    const look = { colour, kind, size: askedSizes.length > 1 ? size : undefined };
    const boxes = [
      box,
      ...objects.filter((o) => o.box !== box && differences(look, o) === 0).map((o) => o.box),
    ];
    return { question: ask(look), answer: 'yes', boxes };
  }
  const looks = askedSizes.flatMap((size) =>
    colourNames.flatMap((colour) => shapes.map((kind): Look => ({ size, colour, kind }))),
  );
  const askable = objects.some(isHeldOut) ? looks : looks.filter((look) => !isHeldOut(look));
  const near = askable.filter(
    (look) => Math.min(...objects.map((object) => differences(look, object))) === 1,
  );
  // Harder still: the colour is there and the shape is there, but not together.
  const hard = near.filter(
    ({ colour, kind }) => objects.some((o) => o.colour === colour) && objects.some((o) => o.kind === kind),
  );
  const look = pick(random, hard.length > 0 && random() < 0.75 ? hard : near);
  return { question: ask(look), answer: 'no', boxes: [] };
}

/** `is the red circle left or right of the letter ?`, where their middles are at least 8 pixels apart. */
function askRelation(objects: readonly SceneObject[], random: Random): Asked | undefined {
  const middle = ({ box }: SceneObject, axis: number) => (box[axis] + box[axis + 2]) / 2;
  for (const axis of shuffle(random, [0, 1])) {
    const [less, more] = axis === 0 ? ['left', 'right'] : ['above', 'below'];
    const pairs = objects.flatMap((a) => objects.map((b) => [a, b] as const));
    for (const [a, b] of shuffle(random, pairs)) {
      if (Math.abs(middle(a, axis) - middle(b, axis)) < 8) continue;
      const [nameA, nameB] = [nameObject(a, objects, random), nameObject(b, objects, random)];
      const question = `is the ${nameA} ${less} or ${more} ${axis === 0 ? 'of ' : ''}the ${nameB} ?`;
      return { question, answer: middle(a, axis) < middle(b, axis) ? less : more, boxes: [a.box, b.box] };
    }
  }
  return undefined;
}

/**
 * Questions about a scene: one of each type that it allows; or `count` of them, the types in turn and in any order,
 * none twice while there are others.
 * @param random the scene's own, unless given: the same questions each time
 */
export function askScene(
  { id, objects }: Scene,
  random: Random = createRandom(hashText(`${id} questions`)),
  count?: number,
): Question[] {
  const questions: Question[] = [];
  const seen = new Set<string>();
  const rounds = count === undefined ? 1 : Infinity;
  for (let round = 0; round < rounds; round++) {
    for (const type of count === undefined ? questionTypes : shuffle(random, questionTypes)) {
      if (questions.length === count) return questions;
      const asked = askers[type](objects, random);
      if (!asked || (seen.has(asked.question) && round < 8)) continue;
      seen.add(asked.question);
      questions.push({ id: `${id}-q${questions.length}`, type, ...asked });
    }
  }
  return questions;
}

/** The questions about the first `scenes` scenes of a split, scene after scene. */
export function worldQuestions(split: Split, scenes: number): { scene: Scene; question: Question }[] {
  return Array.from({ length: scenes }, (_, index) => createScene(split, index)).flatMap((scene) =>
    askScene(scene).map((question) => ({ scene, question })),
  );
}
