/**
 * The state as a link holds it, and back. What comes from a link is a stranger's: a part that says nothing sensible is as if
 * it were not there.
 */
import { boxAt, touch, type Look } from '../../world/place.ts';
import {
  colourNames,
  letters,
  mostShapes,
  shapes,
  side,
  sizeNames,
  type SceneObject,
} from '../../world/things.ts';
import { lenses, openingState, type PageState } from './state.ts';

/** What numbers may be; the tower has 4 layers of 4 heads, and 100 patches. */
const limits = {
  K: [1, 4],
  U: [1, 100],
  layer: [0, 3],
  head: [-1, 3],
  step: [0, 20],
  patch: [0, 99],
} as const;
const longestQuestion = 200;

/** @returns such as `o=red-circle-small-8-16~blue-k-48-48&q=where+is+the+letter+%3F&U=25` */
export function encodeState(state: PageState): string {
  const { objects, ground, question, K, U, layer, head, lens, rival, pinned, painted, step } = state;
  const pairs: [string, string | number][] = [
    ['o', objects.map(writeObject).join('~')],
    ['g', ground],
    ['q', question],
    ['K', K],
    ['U', U],
    ['layer', layer],
    ['head', head],
    ['lens', lens],
    ['rival', rival],
    ...(pinned === undefined ? [] : ([['p', pinned]] as [string, number][])),
    ['paint', painted.join('.')],
    ['step', step],
  ];
  return new URLSearchParams(
    Object.fromEntries(pairs.map(([name, value]) => [name, String(value)])),
  ).toString();
}

/**
 * @param text what {@link encodeState} wrote, or anything
 * @param methods the names that a rival may have
 */
export function decodeState(text: string, methods: readonly string[]): PageState {
  const given = new URLSearchParams(text);
  const opening = openingState();
  const number = (name: string, [least, most]: readonly [number, number], otherwise: number) =>
    wholeNumber(given.get(name), least, most) ?? otherwise;
  const objects = readObjects(given.get('o'));
  const question = given.get('q') ?? '';
  return {
    objects: objects ?? opening.objects,
    ground: number('g', [0, 2 ** 32 - 1], opening.ground),
    question: question.trim() !== '' && question.length <= longestQuestion ? question : opening.question,
    K: number('K', limits.K, opening.K),
    U: number('U', limits.U, opening.U),
    layer: number('layer', limits.layer, opening.layer),
    head: number('head', limits.head, opening.head),
    lens: lenses.find((lens) => lens === given.get('lens')) ?? opening.lens,
    rival: methods.find((name) => name === given.get('rival')) ?? opening.rival,
    pinned: wholeNumber(given.get('p'), ...limits.patch),
    painted: readPatches(given.get('paint')),
    step: number('step', limits.step, opening.step),
  };
}

function wholeNumber(text: string | null, least: number, most: number): number | undefined {
  if (text === null || !/^-?\d{1,10}$/.test(text)) return undefined;
  const number = Number(text);
  return number >= least && number <= most ? number : undefined;
}

const readPatches = (text: string | null): number[] => {
  const patches = (text ?? '').split('.').flatMap((part) => wholeNumber(part, ...limits.patch) ?? []);
  return [...new Set(patches)].sort((a, b) => a - b);
};

const writeObject = ({ kind, letter, colour, size, box: [x, y] }: SceneObject): string =>
  [colour, letter ?? kind, size, x, y].join('-');

/** @returns undefined unless all are objects that can stand together */
function readObjects(text: string | null): SceneObject[] | undefined {
  if (!text) return undefined;
  const objects: SceneObject[] = [];
  for (const part of text.split('~')) {
    const object = readObject(part);
    if (!object || objects.some((other) => touch(other.box, object.box))) return undefined;
    objects.push(object);
  }
  const count = objects.filter(({ kind }) => kind !== 'letter').length;
  return count >= 1 && count <= mostShapes && objects.length - count <= 1 ? objects : undefined;
}

function readObject(text: string): SceneObject | undefined {
  const [colourText, nounText, sizeText, ...corner] = text.split('-');
  const colour = colourNames.find((name) => name === colourText);
  const size = sizeNames.find((name) => name === sizeText);
  const letter = letters.find((name) => name === nounText);
  const kind = letter ? 'letter' : shapes.find((name) => name === nounText);
  const [x, y] = corner.map((at) => wholeNumber(at, 0, side));
  if (!colour || !size || !kind || x === undefined || y === undefined || corner.length !== 2)
    return undefined;
  if (letter && size !== 'large') return undefined;
  const look: Look = letter ? { kind, letter, colour, size } : { kind, colour, size };
  const box = boxAt(look, [x, y]);
  return box[2] <= side && box[3] <= side ? { ...look, box } : undefined;
}
