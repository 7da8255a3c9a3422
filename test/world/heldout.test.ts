/** Pairs of colour and shape that training, validation and test never show and never name. */
import { expect, test } from 'vitest';
import { createRandom } from '../../src/random.ts';
import { changes, drawWrongCaptions } from '../../src/train/wrong-captions.ts';
import { captionScene, namings } from '../../src/world/caption.ts';
import { askScene, worldQuestions } from '../../src/world/questions.ts';
import { createFamily, createScene } from '../../src/world/scene.ts';
import { splits, type Split } from '../../src/world/split.ts';
import { colourNames, isHeldOut, shapes } from '../../src/world/things.ts';

const numbers = (count: number) => [...Array(count).keys()];
const scenes = (split: Split, count: number) => numbers(count).map((i) => createScene(split, i));
const pairs = colourNames.flatMap((colour) => shapes.map((kind) => ({ kind, colour })));
const heldOut = pairs.filter(isHeldOut);
const names = heldOut.map(({ kind, colour }) => `${colour} ${kind}`);
const known = splits.filter((split) => split !== 'heldout');

test('one pair of each shape is held out, no colour twice', () => {
  expect(heldOut.map(({ kind }) => kind).sort()).toEqual([...shapes].sort());
  expect(new Set(heldOut.map(({ colour }) => colour)).size).toBe(heldOut.length);
});

test.each(known)(
  '%s shows none and names none: scenes, families, captions, questions, wrong captions',
  (split) => {
    const family = numbers(60).flatMap((i) => createFamily(split, i));
    const all = [...scenes(split, 1500), ...family];
    expect(all.flatMap(({ objects }) => objects).filter(isHeldOut)).toEqual([]);
    const random = createRandom(1);
    const texts = all.flatMap((scene) => [
      captionScene(scene),
      ...drawWrongCaptions(scene, 3, random),
      ...askScene(scene, random, 8).map(({ question }) => question),
    ]);
    expect(texts.filter((text) => names.some((name) => text.includes(name)))).toEqual([]);
  },
);

test('a changed attribute is any but the own one and what is held out', () => {
  const [object] = createScene('train', 0).objects;
  const random = createRandom(2);
  const drawn = numbers(2000).map(
    () => changes.colour({ ...object, kind: 'circle', colour: 'red' }, random)!.colour,
  );
  expect([...new Set(drawn)].sort()).toEqual(
    colourNames.filter((colour) => !['red', 'yellow'].includes(colour)).sort(),
  );
});

test('the scenes of held-out pairs have one each, every one as often, with as many shapes and letters as others', () => {
  const all = scenes('heldout', 3000);
  for (const { objects } of all) expect(objects.some(isHeldOut)).toBe(true);
  const first = all.map(({ objects: [{ kind }] }) => kind);
  for (const kind of shapes) expect(first.filter((one) => one === kind).length / 3000).toBeCloseTo(1 / 5, 1);
  const count = all.map(({ objects }) => objects.filter(({ kind }) => kind !== 'letter').length);
  for (const n of [1, 2, 3]) expect(count.filter((one) => one === n).length / 3000).toBeCloseTo(1 / 3, 1);
});

test('questions about them ask for what is held out, with yes and with no', () => {
  const asked = worldQuestions('heldout', 800).filter(({ question: { type, question } }) => {
    return type === 'existence' && names.some((name) => question.includes(name));
  });
  const yes = asked.filter(({ question }) => question.answer === 'yes').length;
  expect(yes).toBeGreaterThan(100);
  expect(asked.length - yes).toBeGreaterThan(10);
});

test('salient captions name what is large, and all where nothing is; wrong ones are wrong in what they name', () => {
  const random = createRandom(3);
  for (const scene of scenes('train', 300)) {
    const named = namings.salient(scene.objects);
    const large = scene.objects.filter(({ size }) => size === 'large');
    expect(named).toEqual(large.length > 0 ? large : scene.objects);
    const caption = captionScene(scene, 'salient');
    expect(caption).toBe(captionScene({ objects: named }));
    for (const wrong of drawWrongCaptions(scene, 3, random, 'salient')) {
      expect(wrong).not.toBe(caption);
      expect(wrong.split(' ')).toHaveLength(caption.split(' ').length);
    }
  }
  const family = createFamily('train', 0, 8, 'salient').map((scene) => captionScene(scene, 'salient'));
  expect(new Set(family).size).toBe(8);
});
