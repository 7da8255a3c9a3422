import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRandom } from '../../src/random.ts';
import { captionScene } from '../../src/world/caption.ts';
import { askScene, questionTypes, worldQuestions, type Question } from '../../src/world/questions.ts';
import { createFamily, createScene, type Scene } from '../../src/world/scene.ts';
import { splits } from '../../src/world/split.ts';
import { colourNames, letters, shapes, type SceneObject } from '../../src/world/things.ts';
import { worldWords } from '../../src/world/vocabulary.ts';

const anyScene = fc
  .tuple(fc.constantFrom(...splits), fc.nat(1e6), fc.boolean())
  .map(([split, index, alone]) => (alone ? createScene(split, index) : createFamily(split, index, 2)[1]));

const isShape = ({ kind }: SceneObject) => kind !== 'letter';
const word = <T extends string>(text: string, words: readonly T[]) =>
  words.find((one) => text.split(' ').includes(one));

/** The objects that a name could mean, read from its words alone. */
function meantBy(name: string, objects: readonly SceneObject[]): SceneObject[] {
  const size = word(name, ['small', 'large']);
  const colour = word(name, colourNames);
  const kind = word(name, [...shapes, 'letter'] as const);
  expect(name).toBe([size, colour, kind ?? 'object'].filter(Boolean).join(' '));
  return objects.filter(
    (o) =>
      (!kind || o.kind === kind) &&
      (!colour || o.colour === colour) &&
      (!size || o.size === size || !isShape(o)),
  );
}

/** The answer and the objects spoken of, read from the question's words and the objects alone. */
function answerAlone(question: string, objects: readonly SceneObject[]): [string, SceneObject[]] {
  const one = (name: string) => {
    const meant = meantBy(name, objects);
    expect(meant, `${name} in ${captionScene({ objects })}`).toHaveLength(1);
    return meant[0];
  };
  const quadrant = ({ box }: SceneObject) =>
    `${box[1] + box[3] < 80 ? 'upper' : 'lower'}-${box[0] + box[2] < 80 ? 'left' : 'right'}`;

  const attribute = /^(what (color|shape|size) is|where is) the (.+) \?$/.exec(question);
  if (attribute) {
    const object = one(attribute[3]);
    const told = { color: object.colour, shape: object.kind, size: object.size };
    return [attribute[2] ? told[attribute[2] as keyof typeof told] : quadrant(object), [object]];
  }
  const existence = /^is there a (.+) \?$/.exec(question);
  if (existence) {
    const meant = meantBy(existence[1], objects.filter(isShape));
    return [meant.length > 0 ? 'yes' : 'no', meant];
  }
  const relation = /^is the (.+) (left or right of|above or below) the (.+) \?$/.exec(question);
  if (relation) {
    const [a, b] = [one(relation[1]), one(relation[3])];
    const axis = relation[2].startsWith('left') ? 0 : 1;
    const apart = b.box[axis] + b.box[axis + 2] - (a.box[axis] + a.box[axis + 2]);
    expect(Math.abs(apart) / 2).toBeGreaterThanOrEqual(8);
    return [[apart > 0 ? 'left' : 'right', apart > 0 ? 'above' : 'below'][axis], [a, b]];
  }
  if (question === 'how many shapes are there ?') {
    const found = objects.filter(isShape);
    return [['none', 'one', 'two', 'three', 'four'][found.length], found];
  }
  expect(question).toBe('what letter is there ?');
  const found = objects.filter((o) => !isShape(o));
  return [found[0].letter!, found];
}

function check({ objects }: Scene, { question, answer, boxes }: Question): void {
  const [expected, meant] = answerAlone(question, objects);
  expect(answer, question).toBe(expected);
  const sorted = (list: readonly (readonly number[])[]) => list.map((box) => box.join()).sort();
  expect(sorted(boxes), question).toEqual(sorted(meant.map(({ box }) => box)));
}

describe('a question', () => {
  test('means the objects it names alone, and its answer and boxes are theirs', () => {
    const asked = new Set<string>();
    fc.assert(
      fc.property(anyScene, fc.nat(), (scene, seed) => {
        for (const question of [...askScene(scene), ...askScene(scene, createRandom(seed), 16)]) {
          check(scene, question);
          asked.add(question.type);
        }
      }),
      { numRuns: 300 },
    );
    expect([...asked].sort()).toEqual([...questionTypes].sort());
  });

  test('is at most 14 known lower-case words, and its answer is one of them', () => {
    for (const { question } of worldQuestions('train', 300)) {
      const words = question.question.split(' ');
      expect(words.length).toBeLessThanOrEqual(14);
      expect(worldWords).toEqual(expect.arrayContaining([...words, question.answer]));
      expect(question.question).toBe(question.question.toLowerCase());
    }
  });

  test('does not give its answer away, but where it offers two', () => {
    for (const { question: q } of worldQuestions('train', 300)) {
      if (q.type !== 'relation') expect(q.question.split(' '), q.question).not.toContain(q.answer);
    }
  });
});

describe('the questions of a scene', () => {
  test('are one of each type that it allows, the same each time', () => {
    fc.assert(
      fc.property(anyScene, (scene) => {
        const questions = askScene(scene);
        expect(askScene(scene)).toEqual(questions);
        const types = questions.map(({ type }) => type);
        expect(types).toEqual(questionTypes.filter((type) => types.includes(type)));
        expect(types).toEqual(expect.arrayContaining(['existence', 'count', 'quadrant']));
        expect(types.includes('letter')).toBe(!scene.objects.every(isShape));
        if (scene.objects.length === 1) expect(types).not.toContain('relation');
      }),
      { numRuns: 100 },
    );
  });

  test('are as many as asked for, all different and of all types in turn', () => {
    fc.assert(
      fc.property(anyScene, fc.nat(), fc.integer({ min: 1, max: 10 }), (scene, seed, count) => {
        const questions = askScene(scene, createRandom(seed), count);
        expect(questions).toHaveLength(count);
        expect(new Set(questions.map(({ question }) => question)).size).toBe(count);
        expect(new Set(questions.map(({ id }) => id)).size).toBe(count);
        expect(askScene(scene, createRandom(seed), count)).toEqual(questions);
      }),
      { numRuns: 100 },
    );
    const scene = createScene('train', 1);
    expect(askScene(scene, createRandom(1), 500)).toHaveLength(500); // then some come again
  });

  test('take the types in turn: eight of a rich scene are of eight types', () => {
    const rich = Array.from({ length: 50 }, (_, index) => createScene('train', index)).filter(
      (scene) => askScene(scene).length === questionTypes.length,
    );
    expect(rich.length).toBeGreaterThan(10);
    for (const scene of rich) {
      const types = askScene(scene, createRandom(7), 8).map(({ type }) => type);
      expect(new Set(types)).toEqual(new Set(questionTypes));
      expect(types).not.toEqual(questionTypes); // in any order
    }
  });
});

describe('the questions of a split', () => {
  const questions = worldQuestions('test', 1600);
  const of = (type: string) => questions.filter(({ question }) => question.type === type);
  const majority = (answers: string[]) => {
    const counts = new Map<string, number>();
    for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1);
    return Math.max(...counts.values()) / answers.length;
  };
  const chances = {
    colour: colourNames.length,
    shape: shapes.length,
    size: 2,
    existence: 2,
    count: 3,
    quadrant: 4,
    relation: 4,
    letter: letters.length,
  };

  test('come in the order of the scenes, so that fewer scenes give a part of them, all true', () => {
    expect(questions.slice(0, 60)).toEqual(worldQuestions('test', 20).slice(0, 60));
    expect(new Set(questions.map(({ question }) => question.id)).size).toBe(questions.length);
    for (const { scene, question } of questions.slice(-500)) check(scene, question);
  });

  test.each(Object.entries(chances))('of type %s have each of %i answers about as often', (type, kinds) => {
    const answers = of(type).map(({ question }) => question.answer);
    expect(new Set(answers).size).toBe(kinds);
    expect(majority(answers)).toBeLessThan(1 / kinds + 0.04);
  });

  test('leave one who sees no picture at most 34 %', () => {
    // The best constant answer of each type, and of the two axes of a relation.
    const best = Object.keys(chances).map((type) => {
      if (type !== 'relation') return majority(of(type).map(({ question }) => question.answer));
      const [across, down] = ['left or right', 'above or below'].map((sides) =>
        of(type).flatMap(({ question: q }) => (q.question.includes(sides) ? q.answer : [])),
      );
      return (
        (majority(across) * across.length + majority(down) * down.length) / (across.length + down.length)
      );
    });
    expect(best.reduce((sum, share) => sum + share, 0) / best.length).toBeLessThan(0.34);
  });

  test('tell as little by their words: no word of a question makes one answer likely', () => {
    for (const [type, kinds] of Object.entries(chances)) {
      if (type === 'relation') continue; // its words offer two of the four
      const words = new Set(of(type).flatMap(({ question }) => question.question.split(' ')));
      for (const one of words) {
        const answers = of(type).flatMap(({ question: q }) =>
          q.question.split(' ').includes(one) ? q.answer : [],
        );
        const noise = 3.5 / Math.sqrt(answers.length * kinds); // deviations of a share of 1/kinds
        expect(majority(answers), `${type}: ${one}`).toBeLessThan(1 / kinds + noise + 0.01);
      }
    }
  });

  test('ask for what is not there by a near miss, mostly of a colour and a shape that are', () => {
    const missing = of('existence').filter(({ question }) => question.answer === 'no');
    const bothThere = missing.filter(({ scene: { objects }, question: { question } }) => {
      const [colour, kind] = [word(question, colourNames), word(question, shapes)];
      const found = objects.filter(isShape);
      expect(found.some((o) => o.colour === colour || o.kind === kind)).toBe(true);
      return found.some((o) => o.colour === colour) && found.some((o) => o.kind === kind);
    });
    expect(bothThere.length / missing.length).toBeGreaterThan(0.5);
  });
});

describe('captions', () => {
  test('name every object, and nothing else', () => {
    fc.assert(
      fc.property(anyScene, ({ objects }) => {
        const parts = captionScene({ objects }).split(' , ');
        expect(parts).toHaveLength(objects.length);
        for (const [i, part] of parts.entries()) {
          const { kind, letter, colour, size, box } = objects[i];
          const place = `${box[1] < 40 ? 'upper' : 'lower'}-${box[0] < 40 ? 'left' : 'right'}`;
          const look = letter ? [colour, 'letter', letter] : [size, colour, kind];
          expect(part.split(' ')).toEqual(['a', ...look, place]);
        }
      }),
      { numRuns: 100 },
    );
  });
});
