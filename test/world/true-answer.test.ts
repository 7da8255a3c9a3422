/** What is asked of scenes is answered by what is true of them, written twice. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { askScene } from '../../src/world/questions.ts';
import { createScene } from '../../src/world/scene.ts';
import { trueAnswer } from '../../src/world/true-answer.ts';
import type { SceneObject } from '../../src/world/things.ts';

test('every question that is asked of a scene has the answer that its writer gave', () => {
  fc.assert(
    fc.property(
      fc.nat(100_000),
      fc.constantFrom('train', 'validation', 'test', 'heldout'),
      (index, split) => {
        const scene = createScene(split, index);
        for (const { question, answer } of askScene(scene)) {
          expect(trueAnswer(scene.objects, question), question).toEqual({ answer });
          expect(trueAnswer(scene.objects, question.toUpperCase().replace(' ?', '?'))).toEqual({ answer });
        }
      },
    ),
    { numRuns: 300 },
  );
});

const objects: SceneObject[] = [
  { kind: 'circle', colour: 'red', size: 'small', box: [8, 8, 16, 16] },
  { kind: 'circle', colour: 'blue', size: 'large', box: [8, 48, 20, 60] },
  { kind: 'letter', letter: 'k', colour: 'red', size: 'large', box: [48, 48, 58, 60] },
];

test.each([
  ['what color is the circle ?', { none: '2 objects are a circle' }],
  ['what colour is the small circle ?', { answer: 'red' }],
  ['what size is the letter ?', { none: 'a letter has no size that one could ask for' }],
  ['what shape is the red object ?', { none: '2 objects are a red object' }],
  ['where is the green ring ?', { none: 'there is no green ring' }],
  ['where is the red small circle ?', { none: '"red small circle" names nothing that can be in a scene' }],
  ['is there a small red letter ?', { answer: 'yes' }],
  ['is there a blue letter ?', { answer: 'no' }],
  ['is the small circle left or right of the blue circle ?', { answer: 'left' }],
  ['is the letter above or below the large circle ?', { none: 'neither: they are level' }],
  ['who goes there ?', { none: 'this is no question of the kinds that the model was taught' }],
])('%s', (question, truth) => {
  expect(trueAnswer(objects, question)).toEqual(truth);
});

test('what cannot be counted or read has no answer', () => {
  expect(trueAnswer([], 'how many shapes are there ?')).toEqual({
    none: 'the model counts from one to three',
  });
  expect(trueAnswer([], 'what letter is there ?')).toEqual({ none: 'there are no letters' });
  expect(trueAnswer([objects[2], objects[2]], 'what letter is there ?')).toEqual({
    none: 'there are several letters',
  });
});
