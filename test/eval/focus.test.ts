import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import type { LlavaConfig } from '../../src/checkpoint/architecture.ts';
import type { Album } from '../../src/eval/run/album.ts';
import {
  canFocus,
  focusLayers,
  joinFocus,
  measureFocus,
  focusOf,
  touchedPatches,
} from '../../src/eval/run/focus.ts';
import type { Task } from '../../src/eval/task/task.ts';
import { createWorldTask } from '../../src/eval/task/world-task.ts';
import { createScene, objectPatches, side } from '../../src/world/scene.ts';
import { describeEachBackend } from '../support/backends.ts';
import { wholeFeatures } from '../../src/vision/features.ts';
import { seenOf } from '../support/methods.ts';
import { tidyEachTest } from '../support/random.ts';
import { tinyVisionConfig } from '../support/tiny.ts';

const config = { vision: tinyVisionConfig, vision_feature_layer: [3], text: {} } as unknown as LlavaConfig;

test('the patches that an object touches are those the world itself names', () => {
  const task = createWorldTask('validation', 20);
  for (const { id, objects } of task.pictures) {
    const scene = createScene('validation', Number(id.split('-').at(-1)));
    expect(touchedPatches(objects!, side / 8)).toEqual(objectPatches(scene, 8));
  }
});

describeEachBackend('focus', () => {
  tidyEachTest();

  test('the share of the most attended patches that lie on objects, layer by layer', async () => {
    // 4 × 4 patches; the object touches 0, 1, 4 and 5; two of the 16 count as the most attended.
    const picture = {
      id: 'p',
      read: () => Promise.reject(new Error('not read')),
      objects: [[0, 0, 0.4, 0.5]] as const,
    };
    const task: Task = { name: 't', scoring: 'exact', pictures: [picture, picture], questions: [] };
    const look = (...patches: number[]) =>
      Array.from({ length: 16 }, (_, p) => (patches.includes(p) ? 0.4 : 0.01));
    const attention = (first: number[][], second: number[][]) => tf.tensor3d([first, second]);
    const rows = new Map([
      [0, attention([look(7, 15)], [look(2, 3)])], // nowhere near
      [1, attention([look(0, 5)], [look(4, 9)])], // both; one of two
      [2, attention([look(0, 5)], [look(1, 4)])], // all
    ]);
    const seen = seenOf(tf.zeros([2, 16, 3]), { clsAttention: rows });
    const album: Pick<Album, 'chunks' | 'lend'> = {
      chunks: [[0, 1]],
      lend: (_, use) => use({ ...seen, features: wholeFeatures(seen) }),
    };
    expect(focusLayers(config)).toEqual([0, 1, 2]);
    const focus = focusOf(await measureFocus({ config }, task, album));
    expect([focus.patches, focus.chance]).toEqual([2, 0.25]);
    expect(Object.entries(focus.shares)).toEqual([
      ['layer 0', 0],
      ['layer 1', 0.75],
      ['layer 2', 1],
      ['layers 0 to 2, sum', 1],
    ]);

    // Part by part it comes to the same counts.
    const partOf = (b: number) => ({
      chunks: [[b]],
      lend: ((...lent) => album.lend(...lent)) as Album['lend'],
    });
    const alone = await measureFocus({ config }, task, { ...partOf(0) });
    expect(alone.pictures).toBe(1);
    expect(focusOf(joinFocus([alone, alone])).shares).toEqual(focusOf(alone).shares);
    expect(joinFocus([alone, alone])).toMatchObject({ pictures: 2, onObjects: 2 * alone.onObjects });
  });
});

test('there is no focus where a task does not know its objects, or features come before any attention', () => {
  const known = createWorldTask('test', 1);
  const unknown = { ...known, pictures: known.pictures.map(({ id, read }) => ({ id, read })) };
  expect(canFocus(config, known)).toBe(true);
  expect(canFocus(config, unknown)).toBe(false);
  expect(canFocus({ ...config, vision_feature_layer: [0] }, known)).toBe(false);
});
