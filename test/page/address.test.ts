/** A link holds the whole state, and nothing that is in a link can break the page. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeState, encodeState } from '../../src/page/state/address.ts';
import { lenses, openingState, sceneOf, type PageState } from '../../src/page/state/state.ts';
import { askScene, questionTypes } from '../../src/world/questions.ts';
import { createScene } from '../../src/world/scene.ts';
import { trueAnswer } from '../../src/world/true-answer.ts';

const methods = ['none', 'vtc-cls', 'random', 'prumerge+'];

const states: fc.Arbitrary<PageState> = fc
  .record({
    index: fc.nat(5000),
    question: fc
      .string({ minLength: 1, maxLength: 200, unit: 'binary' })
      .filter((text) => text.trim() !== ''),
    ground: fc.nat(2 ** 32 - 1),
    K: fc.integer({ min: 1, max: 4 }),
    U: fc.integer({ min: 1, max: 100 }),
    layer: fc.nat(3),
    head: fc.integer({ min: -1, max: 3 }),
    lens: fc.constantFrom(...lenses),
    rival: fc.constantFrom(...methods),
    pinned: fc.option(fc.nat(99), { nil: undefined }),
    painted: fc.uniqueArray(fc.nat(99)).map((patches) => patches.sort((a, b) => a - b)),
    step: fc.nat(20),
  })
  .map(({ index, ...rest }) => ({ ...rest, objects: createScene('test', index).objects }));

test('what a link says is what it was made of', () => {
  fc.assert(
    fc.property(states, (state) => {
      expect(decodeState(encodeState(state), methods)).toEqual(state);
    }),
  );
});

test('a link of anything opens a page', () => {
  const names = ['o', 'g', 'q', 'K', 'U', 'layer', 'head', 'lens', 'rival', 'p', 'paint', 'step'];
  const value = fc.oneof(
    fc.string(),
    fc.constantFrom(
      '-1',
      '101',
      '1e3',
      '0x5',
      'NaN',
      '9'.repeat(30),
      'red-circle-large-0-0~red-circle-large-8-0',
    ),
    fc.constantFrom(
      'red-circle-large-72-72',
      'red-k-small-0-0',
      'red-circle-large-0-0-0',
      '~',
      'a.b.3.3.200',
    ),
  );
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...names), value), (given) => {
      const state = decodeState(new URLSearchParams(given).toString(), methods);
      expect(decodeState(encodeState(state), methods)).toEqual(state);
      expect(state.U).toBeGreaterThanOrEqual(1);
      expect(state.U).toBeLessThanOrEqual(100);
      expect(state.objects.length).toBeGreaterThan(0);
      expect(methods).toContain(state.rival);
    }),
  );
});

test('objects that cannot stand so are as if no one had named any', () => {
  const opening = openingState().objects;
  for (const text of [
    'red-circle-large-72-72',
    'red-circle-large-0-0~blue-ring-large-8-0',
    'red-k-small-0-0',
    'red-k-large-0-0',
  ]) {
    expect(decodeState(`o=${text}`, methods).objects, text).toEqual(opening);
  }
  expect(decodeState('o=red-ring-small-8-16', methods).objects).toEqual([
    { kind: 'ring', colour: 'red', size: 'small', box: [8, 16, 16, 24] },
  ]);
});

test('the opening questions have true answers', () => {
  for (const state of [openingState(), openingState(9), openingState(7, 'heldout')]) {
    const questions = askScene(sceneOf(state));
    expect(trueAnswer(state.objects, state.question)).toHaveProperty('answer');
    expect(questions.length).toBeGreaterThan(0);
  }
  const { question, answer } = askScene(sceneOf(openingState(9)))[0];
  expect(openingState(9).question).toBe(question);
  expect(trueAnswer(openingState(9).objects, question)).toEqual({ answer });
});

test('a type’s questions begin alike, and others otherwise', () => {
  const begins = new Map<string, Set<string>>();
  for (let index = 0; index < 50; index++) {
    for (const { type, question } of askScene(createScene('test', index))) {
      const two = question.split(' ', 2).join(' ');
      begins.set(two, (begins.get(two) ?? new Set()).add(type));
    }
  }
  expect(begins.size).toBe(questionTypes.length);
  for (const [two, types] of begins) expect(types.size, two).toBe(1);
});
