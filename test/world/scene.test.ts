import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { captionScene } from '../../src/world/caption.ts';
import { createFamily, createScene, objectPatches, side } from '../../src/world/scene.ts';
import { splitOf, splits, type Split } from '../../src/world/split.ts';
import {
  colours,
  letters,
  mostShapes,
  quadrantOf,
  type Box,
  type SceneObject,
} from '../../src/world/things.ts';

const scenes = (split: Split, count: number) =>
  Array.from({ length: count }, (_, index) => createScene(split, index));
const families = (split: Split, count: number) =>
  Array.from({ length: count }, (_, index) => createFamily(split, index));
const anySplit = fc.constantFrom(...splits);
const anyScene = fc
  .tuple(anySplit, fc.nat(1e6), fc.boolean())
  .map(([split, index, alone]) => (alone ? createScene(split, index) : createFamily(split, index, 3)[2]));

/** What makes two scenes one, written apart from the code: each object with its place, in no order. */
const contentOf = (objects: readonly SceneObject[]) =>
  JSON.stringify(objects.map((o) => [o.kind, o.letter, o.colour, o.size, ...o.box].join()).sort());

describe('a scene', () => {
  test('is the same for a split and an index, and another for another', () => {
    fc.assert(
      fc.property(anySplit, fc.nat(1e6), (split, index) => {
        const scene = createScene(split, index);
        expect(createScene(split, index)).toEqual(scene);
        const other = createScene(split, index + 1);
        expect([other.id, other.backgroundSeed]).not.toContain(scene.id);
        expect(other.backgroundSeed).not.toBe(scene.backgroundSeed);
      }),
      { numRuns: 50 },
    );
    expect(createScene('test', 123).id).toBe('test-000123');
  });

  test('of an index never changes: published numbers hang on it', () => {
    expect(scenes('test', 3).map((scene) => [captionScene(scene), scene.backgroundSeed]))
      .toMatchInlineSnapshot(`
        [
          [
            "a large red cross lower-right",
            2297776447,
          ],
          [
            "a large blue circle lower-left , a small red circle lower-right",
            3294372864,
          ],
          [
            "a large red square upper-left , a blue letter h upper-right",
            4240064409,
          ],
        ]
      `);
    expect(createFamily('train', 3).map((scene) => captionScene(scene))).toMatchInlineSnapshot(`
      [
        "a large yellow triangle lower-left , a small white cross upper-right",
        "a small yellow triangle upper-left , a small white cross upper-right",
        "a large yellow triangle upper-right , a small white circle lower-left",
        "a large white triangle upper-left , a small yellow triangle lower-left",
        "a small yellow triangle lower-left , a large white cross upper-right",
        "a large white triangle lower-left , a small yellow cross lower-left",
        "a small yellow triangle lower-left , a large white square upper-right",
        "a small cyan square lower-left , a large white square upper-right",
      ]
    `);
  });

  test('has its objects on the grid, inside one quadrant, apart and tellable apart', () => {
    fc.assert(
      fc.property(anyScene, ({ objects }) => {
        const shapes = objects.filter(({ kind }) => kind !== 'letter');
        expect(shapes.length).toBeGreaterThanOrEqual(1);
        expect(shapes.length).toBeLessThanOrEqual(4);
        expect(objects.length - shapes.length).toBeLessThanOrEqual(1);
        expect(new Set(objects.map((o) => `${o.kind} ${o.colour} ${o.size}`)).size).toBe(objects.length);
        for (const { kind, letter, colour, size, box } of objects) {
          const [x0, y0, x1, y1] = box;
          expect(Object.keys(colours)).toContain(colour);
          expect(letter === undefined).toBe(kind !== 'letter');
          expect([x1 - x0, y1 - y0]).toEqual(
            kind === 'letter' ? [10, 12] : size === 'small' ? [8, 8] : [12, 12],
          );
          expect([x0 % 4, y0 % 4]).toEqual([0, 0]);
          expect(Math.min(x0, y0)).toBeGreaterThanOrEqual(0);
          expect(Math.max(x1, y1)).toBeLessThanOrEqual(side);
          const halves = `${y1 <= 40 ? 'upper' : y0 >= 40 ? 'lower' : '?'}-${x1 <= 40 ? 'left' : x0 >= 40 ? 'right' : '?'}`;
          expect(quadrantOf(box)).toBe(halves);
          for (const other of objects)
            if (other.box !== box) expect(gap(box, other.box)).toBeGreaterThanOrEqual(2);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('has each number of shapes, colour, size, quadrant and letter as often as the next', () => {
    const drawn = scenes('train', 3000);
    const shapesOf = drawn.map(({ objects }) => objects.filter(({ kind }) => kind !== 'letter'));
    expectEven(
      shapesOf.map((shapes) => String(shapes.length)),
      mostShapes,
    );
    expectEven(
      shapesOf.flat().map(({ kind }) => kind),
      5,
    );
    expectEven(
      shapesOf.flat().map(({ size }) => size),
      2,
    );
    const all = drawn.flatMap(({ objects }) => objects);
    expectEven(
      all.map(({ colour }) => colour),
      8,
    );
    expectEven(
      all.map(({ box }) => quadrantOf(box)),
      4,
    );
    expectEven(
      all.flatMap(({ letter }) => letter ?? []),
      letters.length,
    );
    expect(all.filter(({ letter }) => letter).length / drawn.length).toBeCloseTo(0.5, 1);
  });
});

describe('the splits', () => {
  test('share no scene, members of families included', () => {
    const seen = new Map<string, Split>();
    let met = 0;
    const shared: string[] = [];
    for (const split of splits) {
      for (const { id, objects } of [...scenes(split, 2000), ...families(split, 40).flat()]) {
        const content = contentOf(objects);
        const before = seen.get(content);
        if (before) met++;
        if (before && before !== split) shared.push(id);
        seen.set(content, split);
      }
    }
    expect(shared).toEqual([]);
    expect(met).toBeGreaterThan(10); // scenes of one object do meet again, so there was something to find
  });

  test('are decided by the objects alone, whatever their order', () => {
    fc.assert(
      fc.property(anySplit, fc.nat(1e6), (split, index) => {
        const { objects } = createScene(split, index);
        expect(splitOf([...objects].reverse())).toBe(split);
        expect(createFamily(split, index, 4).map((member) => splitOf(member.objects))).toEqual(
          Array(4).fill(split),
        );
      }),
      { numRuns: 50 },
    );
  });
});

describe('a family', () => {
  const all = families('train', 200);

  test('has members with captions of their own', () => {
    for (const family of all) {
      expect(family).toHaveLength(8);
      expect(new Set(family.map((scene) => captionScene(scene))).size).toBe(8);
      expect(new Set(family.map(({ backgroundSeed }) => backgroundSeed)).size).toBe(8);
    }
    expect(createFamily('test', 5)).toEqual(createFamily('test', 5));
  });

  test('shares colours, sizes and often places, and differs in shapes and letters', () => {
    const share = (same: (a: SceneObject[], b: SceneObject[]) => boolean) => {
      const pairs = all.flatMap(([first, ...others]) =>
        others.map((other) => same(first.objects, other.objects)),
      );
      return pairs.filter(Boolean).length / pairs.length;
    };
    const equal = (pick: (o: SceneObject) => unknown) => (a: SceneObject[], b: SceneObject[]) =>
      JSON.stringify(a.map(pick).sort()) === JSON.stringify(b.map(pick).sort());
    expect(share((a, b) => a.length === b.length)).toBe(1);
    expect(share(equal(({ colour }) => colour))).toBeGreaterThan(0.7);
    expect(share(equal(({ size }) => size))).toBeGreaterThan(0.7);
    expect(share(equal(({ kind }) => kind))).toBeLessThan(0.5);
    const kept = share((a, b) => b.some(({ box }) => a.some((o) => o.box.join() === box.join())));
    expect(kept).toBeGreaterThan(0.6);
    expect(share(equal(({ box: [x, y] }) => [x, y].join()))).toBeLessThan(0.6);
  });
});

describe('patches with objects', () => {
  test('are those that a box shares a pixel with', () => {
    fc.assert(
      fc.property(anyScene, fc.constantFrom(4, 8, 16), (scene, patch) => {
        const covered = new Set<number>();
        for (const { box } of scene.objects) {
          for (let y = box[1]; y < box[3]; y++) {
            for (let x = box[0]; x < box[2]; x++) {
              covered.add(Math.floor(y / patch) * (side / patch) + Math.floor(x / patch));
            }
          }
        }
        const found = objectPatches(scene, patch);
        expect(found).toHaveLength((side / patch) ** 2);
        expect(new Set(found.flatMap((on, i) => (on ? i : [])))).toEqual(covered);
      }),
      { numRuns: 50 },
    );
  });

  test('are about a fourteenth of all', () => {
    const shares = scenes('test', 1000).map((scene) => objectPatches(scene, 8).filter(Boolean).length / 100);
    const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
    expect(mean).toBeCloseTo(0.07, 2);
    expect(Math.max(...shares)).toBeLessThanOrEqual(0.2);
  });
});

/** Free pixels between two boxes, along the axis where there are more. */
function gap(a: Box, b: Box): number {
  return Math.max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3]);
}

/** All of `kinds` values occur, none a fifth more often than its share. */
function expectEven(values: string[], kinds: number): void {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  expect(counts.size).toBe(kinds);
  expect(Math.max(...counts.values())).toBeLessThan((1.2 * values.length) / kinds);
}
