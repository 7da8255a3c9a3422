/** Pictures of other shapes than the square: nothing outside of the frame, and questions as ever. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { drawWorld } from '../../src/world/draw.ts';
import { frameOf, framePatches, frameSides, wholeFrame } from '../../src/world/frame.ts';
import { askScene } from '../../src/world/questions.ts';
import { createScene, objectPatches, side } from '../../src/world/scene.ts';
import { splitOf } from '../../src/world/split.ts';

const patch = 8;
const shapes = fc.record({
  width: fc.constantFrom(...frameSides),
  height: fc.constantFrom(...frameSides),
  index: fc.nat(5000),
});

test('objects stand in the frame, whole in one quarter of it; every patch of theirs is the picture’s', () => {
  fc.assert(
    fc.property(shapes, ({ width, height, index }) => {
      const frame = frameOf(width, height);
      const scene = createScene('train', index, frame);
      const [left, top, right, bottom] = frame;
      const middles = [(left + right) / 2, (top + bottom) / 2];
      expect(middles).toEqual([side / 2, side / 2]); // so that quarters are where they are in a square
      for (const { box } of scene.objects) {
        expect(box[0] >= left && box[1] >= top && box[2] <= right && box[3] <= bottom).toBe(true);
        for (const axis of [0, 1]) expect(box[axis] >= side / 2 || box[axis + 2] <= side / 2).toBe(true);
      }
      const shown = new Set(framePatches(frame));
      expect(shown.size).toBe((width * height) / patch ** 2);
      for (const [p, isObject] of objectPatches(scene, patch).entries())
        if (isObject) expect(shown).toContain(p);
      expect(splitOf(scene.objects)).toBe('train');
      expect(askScene(scene).length).toBeGreaterThanOrEqual(6);
    }),
  );
});

test('outside there is one grey, inside what the same scene has without a frame', () => {
  fc.assert(
    fc.property(shapes, ({ width, height, index }) => {
      const scene = createScene('train', index, frameOf(width, height));
      const [framed, whole] = [scene, { ...scene, frame: wholeFrame }].map((one) => drawWorld(one).data);
      const [left, top, right, bottom] = scene.frame!;
      for (let y = 0; y < side; y++) {
        for (let x = 0; x < side; x++) {
          const inside = x >= left && x < right && y >= top && y < bottom;
          const at = 3 * (y * side + x);
          const expected = inside ? [...whole.subarray(at, at + 3)] : [127, 127, 127];
          if (`${[...framed.subarray(at, at + 3)].join()}` !== expected.join())
            expect([x, y, ...framed.subarray(at, at + 3)]).toEqual([x, y, ...expected]);
        }
      }
    }),
    { numRuns: 20 },
  );
});

test('the whole square is a frame too, and its scenes are those that they were', () => {
  expect(framePatches(wholeFrame)).toHaveLength(100);
  expect(createScene('test', 3, wholeFrame)).toEqual(createScene('test', 3));
  const { id, objects } = createScene('train', 7, frameOf(48, 64));
  expect(id).toBe('train-000007-48x64');
  expect(objects).not.toEqual(createScene('train', 7).objects);
});
