import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { createRandom } from '../../src/random.ts';
import { askBoxes, shareOf } from '../../src/world/box-questions.ts';
import { overlap } from '../../src/world/overlap.ts';
import { askScene } from '../../src/world/questions.ts';
import { createScene } from '../../src/world/scene.ts';
import { splits } from '../../src/world/split.ts';

const scenes = fc
  .tuple(fc.constantFrom(...splits), fc.nat(1e6))
  .map(([split, index]) => createScene(split, index));

describe('questions with boxes', () => {
  test('ask where each object is by a name that only it has, and what is in its box', () => {
    fc.assert(
      fc.property(scenes, fc.option(fc.nat(), { nil: undefined }), (scene, seed) => {
        const questions = askBoxes(scene, seed === undefined ? undefined : createRandom(seed));
        expect(questions).toHaveLength(2 * scene.objects.length);
        expect(questions.map(({ id }) => id)).toEqual(questions.map((_, i) => `${scene.id}-b${i}`));
        for (const [i, { type, question, answer, box }] of questions.entries()) {
          const object = scene.objects[Math.floor(i / 2)];
          expect(box).toEqual(object.box.map((x) => x / 80));
          if (type === 'identify') {
            expect([question, answer]).toEqual(['what is <loc> ?', `${object.colour} ${object.kind}`]);
            continue;
          }
          expect(answer).toBe('<loc>');
          const words = question.split(' ');
          expect(words.slice(0, 2)).toEqual(['locate', 'the']);
          const meant = scene.objects.filter(({ kind, colour, size }) =>
            words
              .slice(2)
              .every((word) =>
                `${kind} ${colour} ${kind === 'letter' ? '' : size}`.split(' ').includes(word),
              ),
          );
          expect(meant).toEqual([object]);
        }
      }),
    );
  });

  test('are the same each time, and leave the other questions as they were', () => {
    const scene = createScene('test', 5);
    const before = askScene(scene);
    expect(askBoxes(scene)).toEqual(askBoxes(createScene('test', 5)));
    expect(askScene(scene)).toEqual(before);
  });
});

describe('overlap', () => {
  test('is what counting small squares says', () => {
    const edge = fc.integer({ min: 0, max: 8 });
    const box = fc
      .tuple(edge, edge, edge, edge)
      .map(([a, b, c, d]) => [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)]);
    fc.assert(
      fc.property(box, box, (a, b) => {
        const inside = ([x0, y0, x1, y1]: number[], x: number, y: number) =>
          x >= x0 && x < x1 && y >= y0 && y < y1;
        let [both, either] = [0, 0];
        for (let x = 0; x < 8; x++) {
          for (let y = 0; y < 8; y++) {
            both += Number(inside(a, x, y) && inside(b, x, y));
            either += Number(inside(a, x, y) || inside(b, x, y));
          }
        }
        expect(overlap(a, b)).toBeCloseTo(either === 0 ? 0 : both / either, 12);
        expect(overlap(a, b)).toBe(overlap(b, a));
      }),
    );
  });

  test('is 0 of a box whose corners are the wrong way round', () => {
    expect(overlap([0.5, 0.5, 0.2, 0.2], [0.2, 0.2, 0.5, 0.5])).toBe(0);
    expect(overlap(shareOf([8, 8, 16, 16]), [0.1, 0.1, 0.2, 0.2])).toBe(1);
  });
});
