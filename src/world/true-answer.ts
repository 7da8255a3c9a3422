/** What is true of a scene, whoever asks: the reader of the questions that `questions.ts` writes. */
import { counts } from './questions.ts';
import { colourNames, quadrantOf, shapes, sizeNames, type SceneObject } from './things.ts';

/** What a question's true answer is, or why it has none. */
export type Truth = { answer: string } | { none: string };

/** What somebody says of an object: any of these may be left out. */
interface Said {
  size?: string;
  colour?: string;
  noun: string;
}

/** A question's form, and its answer from the names in it. */
type Form = [RegExp, (objects: readonly SceneObject[], ...names: string[]) => Truth];

const ofOne = (tell: (object: SceneObject) => string | undefined, what: string) =>
  ((objects, name) => {
    const meant = findOne(objects, name);
    if ('none' in meant) return meant;
    const answer = tell(meant);
    return answer === undefined ? { none: `a letter has no ${what} that one could ask for` } : { answer };
  }) satisfies Form[1];

const isShape = ({ kind }: SceneObject): boolean => kind !== 'letter';

// prettier-ignore
const forms: Form[] = [
  [/^what color is the (.+)$/, ofOne(({ colour }) => colour, 'colour')],
  [/^what shape is the (.+)$/, ofOne((object) => (isShape(object) ? object.kind : undefined), 'shape')],
  [/^what size is the (.+)$/, ofOne((object) => (isShape(object) ? object.size : undefined), 'size')],
  [/^where is the (.+)$/, ofOne(({ box }) => quadrantOf(box), 'place')],
  [/^is there a (.+)$/, (objects, name) => {
    const said = readName(name);
    if (!said) return unknownName(name);
    return { answer: objects.some((object) => fits(object, said)) ? 'yes' : 'no' };
  }],
  [/^how many shapes are there$/, (objects) => {
    const answer = counts[objects.filter(isShape).length - 1];
    return answer ? { answer } : { none: `the model counts from one to ${counts.at(-1)}` };
  }],
  [/^what letter is there$/, (objects) => {
    const [letter, ...more] = objects.flatMap(({ letter }) => letter ?? []);
    return letter && more.length === 0 ? { answer: letter } : { none: `there are ${letter ? 'several letters' : 'no letters'}` };
  }],
  [/^is the (.+) left or right of the (.+)$/, (objects, a, b) => relate(objects, a, b, 0, ['left', 'right'])],
  [/^is the (.+) above or below the (.+)$/, (objects, a, b) => relate(objects, a, b, 1, ['above', 'below'])],
];

/**
 * The answer to a question about a scene.
 * @param question in the words of the questions that the model knows; letters' case, commas and the question mark do not matter
 */
export function trueAnswer(objects: readonly SceneObject[], question: string): Truth {
  const text = question
    .toLowerCase()
    .replaceAll('colour', 'color')
    .replaceAll(/[?,]/g, ' ')
    .trim()
    .replaceAll(/\s+/g, ' ');
  for (const [form, tell] of forms) {
    const found = form.exec(text);
    if (found) return tell(objects, ...found.slice(1));
  }
  return { none: 'this is no question of the kinds that the model was taught' };
}

const unknownName = (name: string): Truth => ({ none: `"${name}" names nothing that can be in a scene` });

/** `small red circle`: in this order, all but the last left out at will. */
function readName(name: string): Said | undefined {
  const words = name.split(' ');
  const noun = words.pop()!;
  if (![...shapes, 'letter', 'object'].includes(noun)) return undefined;
  const said: Said = { noun };
  if (words.length > 0 && sizeNames.some((size) => size === words[0])) said.size = words.shift();
  if (words.length > 0 && colourNames.some((colour) => colour === words[0])) said.colour = words.shift();
  return words.length === 0 ? said : undefined;
}

/** A letter's size is not spoken of, so a size cannot rule it out. */
const fits = ({ kind, colour, size }: SceneObject, said: Said): boolean =>
  (said.noun === 'object' || said.noun === kind) &&
  (said.colour === undefined || said.colour === colour) &&
  (said.size === undefined || said.size === size || kind === 'letter');

function findOne(objects: readonly SceneObject[], name: string): SceneObject | { none: string } {
  const said = readName(name);
  if (!said) return unknownName(name) as { none: string };
  const [one, ...more] = objects.filter((object) => fits(object, said));
  if (!one) return { none: `there is no ${name}` };
  return more.length === 0 ? one : { none: `${more.length + 1} objects are a ${name}` };
}

/** Which of two lies where along an axis, by their middles. */
function relate(
  objects: readonly SceneObject[],
  nameA: string,
  nameB: string,
  axis: 0 | 1,
  [less, more]: [string, string],
): Truth {
  const [a, b] = [findOne(objects, nameA), findOne(objects, nameB)];
  if ('none' in a) return a;
  if ('none' in b) return b;
  const middle = ({ box }: SceneObject) => (box[axis] + box[axis + 2]) / 2;
  if (middle(a) === middle(b)) return { none: 'neither: they are level' };
  return { answer: middle(a) < middle(b) ? less : more };
}
