import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRandom } from '../../src/random.ts';
import { distanceTo } from '../../src/world/distance.ts';
import { drawWorld } from '../../src/world/draw.ts';
import { drawGround, paint } from '../../src/world/ground.ts';
import { createScene, side, type Scene } from '../../src/world/scene.ts';
import { colours, letters, shapes, type Box, type SceneObject } from '../../src/world/things.ts';

const anyScene = fc.nat(1e6).map((index) => createScene('train', index));

test('the bytes of a scene never change: trained weights hang on them', () => {
  const hash = createHash('sha256');
  for (let index = 0; index < 50; index++) hash.update(drawWorld(createScene('test', index)).data);
  expect(hash.digest('hex')).toMatchInlineSnapshot(
    `"dd2a49b0554305ea5f39aef414628885a7de8e6baf7e10a8c030b8a9eb78d314"`,
  );
});

describe('a picture', () => {
  test('shows its objects inside their boxes and the bare ground elsewhere', () => {
    fc.assert(
      fc.property(anyScene, (scene) => {
        const picture = drawWorld(scene);
        const bare = drawWorld({ ...scene, objects: [] });
        expect([picture.width, picture.height, picture.data.length]).toEqual([side, side, side * side * 3]);
        const changed = changedPixels(picture.data, bare.data);
        for (const [x, y] of changed) expect(scene.objects.some(({ box }) => holds(box, x, y))).toBe(true);
        for (const { box, colour } of scene.objects) {
          const inside = changed.filter(([x, y]) => holds(box, x, y));
          expect(inside.length).toBeGreaterThan(20);
          const plain = inside.filter(([x, y]) =>
            colours[colour].every((value, c) => Math.abs(picture.data[(y * side + x) * 3 + c] - value) <= 7),
          );
          expect(plain.length).toBeGreaterThan(3); // full coverage, give or take the noise
        }
      }),
      { numRuns: 60 },
    );
  });

  test('has a ground of its own, which is grey, textured and never empty', () => {
    fc.assert(
      fc.property(anyScene, (scene) => {
        const bare = drawWorld({ ...scene, objects: [] }).data;
        expect(
          drawWorld({ ...scene, objects: [], id: '', backgroundSeed: scene.backgroundSeed + 1 }).data,
        ).not.toEqual(bare);
        const values = [...bare];
        expect(Math.min(...values)).toBeGreaterThan(50);
        expect(Math.max(...values)).toBeLessThan(205);
        for (let patch = 0; patch < 100; patch++) expect(deviation(bare, patch)).toBeGreaterThan(2);
      }),
      { numRuns: 20 },
    );
  });

  test('has clutter beside the noise: dots and strokes stand out of the ground', () => {
    for (let seed = 0; seed < 20; seed++) {
      const ground = drawGround(createRandom(seed));
      const steps =
        ground.filter((value, i) => i % 240 >= 3 && Math.abs(value - ground[i - 3]) > 7).length / 3;
      expect(steps).toBeGreaterThan(20);
    }
  });
});

describe('figures', () => {
  const areas: Record<(typeof shapes)[number], number> = {
    circle: Math.PI,
    square: 1.76 ** 2,
    triangle: 2,
    cross: 2 * (2 * 0.6) - 0.6 ** 2,
    ring: Math.PI * (1 - 0.48 ** 2),
  };
  const draw = (object: Omit<SceneObject, 'box' | 'colour' | 'size'>, box: Box) => {
    const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
    const distance = distanceTo({ ...object, colour: 'red', size: 'large', box });
    const covered = new Map<number, number>();
    paint(
      box,
      (px, py) => distance(px - x, py - y),
      (pixel, coverage) => covered.set(pixel / 3, coverage),
    );
    return covered;
  };

  test.each(shapes)('%s covers the area that geometry gives it', (kind) => {
    for (const size of [8, 12, 40]) {
      const covered = draw({ kind }, [20, 24, 20 + size, 24 + size]);
      const area = [...covered.values()].reduce((sum, coverage) => sum + coverage, 0);
      expect(area / (areas[kind] * (size / 2) ** 2)).toBeGreaterThan(0.93);
      expect(area / (areas[kind] * (size / 2) ** 2)).toBeLessThan(1.05);
      for (const coverage of covered.values()) expect(coverage).toBeLessThanOrEqual(1);
    }
  });

  test('no two figures look alike: one in six pixels of their boxes differs', () => {
    const drawn = [
      ...shapes.map((kind) => draw({ kind }, [0, 0, 12, 12])),
      ...letters.map((letter) => draw({ kind: 'letter', letter }, [0, 0, 10, 12])),
    ];
    for (const [i, a] of drawn.entries()) {
      for (const b of drawn.slice(0, i)) {
        let difference = 0;
        for (const pixel of new Set([...a.keys(), ...b.keys()])) {
          difference += Math.abs((a.get(pixel) ?? 0) - (b.get(pixel) ?? 0));
        }
        expect(difference).toBeGreaterThan(20);
      }
    }
  });

  test('what lies outside the picture is not painted', () => {
    const painted: number[] = [];
    paint(
      [-5, -5, 3, 90],
      () => -1,
      (pixel) => painted.push(pixel / 3),
    );
    expect(painted).toHaveLength(3 * side);
    expect(painted.every((pixel) => pixel % side < 3 && pixel < side * side)).toBe(true);
  });
});

function changedPixels(a: Uint8Array, b: Uint8Array): [x: number, y: number][] {
  const changed: [number, number][] = [];
  for (let i = 0; i < side * side; i++) {
    if ([0, 1, 2].some((c) => a[i * 3 + c] !== b[i * 3 + c])) changed.push([i % side, Math.floor(i / side)]);
  }
  return changed;
}

function holds([x0, y0, x1, y1]: Scene['objects'][number]['box'], x: number, y: number): boolean {
  return x0 <= x && x < x1 && y0 <= y && y < y1;
}

/** Standard deviation of a patch's green, 8 × 8 pixels. */
function deviation(data: Uint8Array, patch: number): number {
  const [left, top] = [(patch % 10) * 8, Math.floor(patch / 10) * 8];
  const values = Array.from({ length: 64 }, (_, i) => {
    return data[((top + Math.floor(i / 8)) * side + left + (i % 8)) * 3 + 1];
  });
  const mean = values.reduce((sum, value) => sum + value, 0) / 64;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 64);
}
