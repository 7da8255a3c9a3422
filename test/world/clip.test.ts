import { describe, expect, test } from 'vitest';
import {
  clipFrames,
  clipKey,
  createClip,
  frameScene,
  frameScenes,
  mostSteps,
  type Clip,
} from '../../src/world/clip.ts';
import {
  askClip,
  clipChoices,
  clipQuestionTypes,
  clipWords,
  thingThat,
  type ClipQuestion,
} from '../../src/world/clip-questions.ts';
import { drawWorld } from '../../src/world/draw.ts';
import { splits } from '../../src/world/split.ts';
import { isHeldOut, side } from '../../src/world/things.ts';
import { worldWords } from '../../src/world/vocabulary.ts';

/** The first of a split, each made once. */
function clipsOf(split: (typeof splits)[number], count: number): Clip[] {
  const clips = made.get(split) ?? [];
  made.set(split, clips);
  while (clips.length < count) clips.push(createClip(split, clips.length));
  return clips.slice(0, count);
}
const made = new Map<string, Clip[]>();

describe('clips', () => {
  test('are the same whenever they are asked for, and of their split', () => {
    for (const split of splits) {
      const [once, again] = [clipsOf(split, 40), clipsOf(split, 40).map((_, i) => createClip(split, i))];
      expect(once).toEqual(again);
      expect(new Set(once.map(clipKey)).size).toBe(40);
      for (const { things } of once) {
        expect(things.some(({ look }) => isHeldOut(look))).toBe(split === 'heldout');
      }
    }
    const keys = splits.map((split) => new Set(clipsOf(split, 300).map(clipKey)));
    for (const [i, one] of keys.entries()) {
      for (const other of keys.slice(i + 1)) expect([...one].filter((key) => other.has(key))).toEqual([]);
    }
  });

  test('have 4 to 8 frames, or as many as are asked for', () => {
    const lengths = new Set(clipsOf('train', 100).map(({ frames }) => frames));
    expect([...lengths].sort()).toEqual([4, 5, 6, 7, 8]);
    expect(clipFrames).toEqual({ least: 4, most: 8 });
    expect(createClip('train', 3, 6).frames).toBe(6);
  });

  test('show what they say: one thing moves one way, one may come, one may go, the rest stands', () => {
    for (const clip of clipsOf('train', 300)) {
      const of = (doing: string) => clip.things.filter((thing) => thing.doing === doing);
      expect(of('moves')).toHaveLength(1);
      for (const { doing, boxes } of clip.things) {
        const there = boxes.map((box) => box !== undefined);
        const turns = there.filter((is, i) => i > 0 && is !== there[i - 1]).length;
        expect(turns).toBe(doing === 'appears' || doing === 'vanishes' ? 1 : 0);
        expect([there[0], there.at(-1)]).toEqual([doing !== 'appears', doing !== 'vanishes']);
        if (doing !== 'moves') expect(new Set(boxes.filter((box) => box).map(String)).size).toBe(1);
      }
      const [{ boxes }] = of('moves');
      const corners = boxes.map((box) => [box![0], box![1]]);
      const hops = corners.slice(1).map(([x, y], i) => [x - corners[i][0], y - corners[i][1]]);
      const moved = hops.filter(([dx, dy]) => dx !== 0 || dy !== 0);
      const way = { left: [-16, 0], right: [16, 0], above: [0, -16], below: [0, 16] }[clip.direction];
      expect(moved).toEqual(Array.from({ length: clip.steps }, () => way));
      for (const frame of clip.things.flatMap(({ boxes }) => boxes)) {
        if (frame) expect(frame.every((at) => at >= 0 && at <= side)).toBe(true);
      }
    }
  });

  test('are drawn on one ground: what stands still is the same in every frame, to the bit', () => {
    const clip = clipsOf('test', 20).find(({ things }) => things.some(({ doing }) => doing === 'stands'))!;
    const pictures = frameScenes(clip).map(drawWorld);
    const changed = new Set<number>();
    for (const { data } of pictures.slice(1)) {
      for (let i = 0; i < data.length; i++)
        if (data[i] !== pictures[0].data[i]) changed.add(Math.floor(i / 3));
    }
    const boxes = clip.things.filter(({ doing }) => doing !== 'stands').flatMap((thing) => thing.boxes);
    for (const pixel of changed) {
      const [x, y] = [pixel % side, Math.floor(pixel / side)];
      expect(boxes.some((box) => box && x >= box[0] && x < box[2] && y >= box[1] && y < box[3])).toBe(true);
    }
    expect(changed.size).toBeGreaterThan(30);
  });
});

describe('questions about clips', () => {
  test('have answers of one word among their choices, in words that are known, none of them rare', () => {
    const words = new Set([...worldWords, ...clipWords]);
    expect(clipWords.some((word) => worldWords.includes(word))).toBe(false);
    const said = new Map<string, Map<string, number>>();
    for (const clip of clipsOf('train', 2000)) {
      for (const { type, question, answer } of askClip(clip)) {
        expect(clipChoices[type]).toContain(answer);
        for (const word of [...question.split(' '), answer]) expect(words).toContain(word);
        const counts = said.get(type) ?? new Map<string, number>();
        said.set(type, counts.set(answer, (counts.get(answer) ?? 0) + 1));
      }
    }
    expect([...said.keys()].sort()).toEqual([...clipQuestionTypes].sort());
    for (const [type, counts] of said) {
      const total = [...counts.values()].reduce((sum, n) => sum + n, 0);
      const choices = clipChoices[type as keyof typeof clipChoices];
      for (const choice of choices) expect(counts.get(choice)! / total).toBeGreaterThan(0.6 / choices.length);
    }
  });

  test('ask only of what happens', () => {
    for (const clip of clipsOf('validation', 50)) {
      const types = askClip(clip).map(({ type }) => type);
      expect(types.includes('appears-colour')).toBe(thingThat(clip, 'appears') !== undefined);
      expect(types.includes('vanishes-shape')).toBe(thingThat(clip, 'vanishes') !== undefined);
    }
  });

  /** The share that a table of answers has right: for each key what was most often right, on other clips. */
  function tableOracle(key: (clip: Clip, question: ClipQuestion) => string): Map<string, number> {
    const table = new Map<string, Map<string, number>>();
    for (const clip of clipsOf('train', 12_000)) {
      for (const question of askClip(clip)) {
        const counts = table.get(key(clip, question)) ?? new Map<string, number>();
        table.set(key(clip, question), counts.set(question.answer, (counts.get(question.answer) ?? 0) + 1));
      }
    }
    const right = new Map<string, [number, number]>();
    for (const clip of clipsOf('test', 2000)) {
      for (const question of askClip(clip)) {
        const counts = [...(table.get(key(clip, question)) ?? [])];
        const guess = counts.sort(([, a], [, b]) => b - a)[0]?.[0];
        for (const type of [question.type, 'all']) {
          const [hits, n] = right.get(type) ?? [0, 0];
          right.set(type, [hits + Number(guess === question.answer), n + 1]);
        }
      }
    }
    return new Map([...right].map(([type, [hits, n]]) => [type, hits / n]));
  }

  test('are not told by their words', () => {
    const blind = tableOracle((_, { type }) => type);
    expect(blind.get('all')).toBeLessThan(0.25);
  });

  test('are not told by the middle frame, even to one who knows which thing there it is that moves', () => {
    // Where it stands, and how many frames there are, is all that bears on whither and how often it moves.
    const guess = tableOracle((clip, { type }) => {
      const at = Math.floor(clip.frames / 2);
      const [x, y] = thingThat(clip, 'moves')!.boxes[at]!;
      return [type, clip.frames, x, y].join(' ');
    });
    expect(guess.get('direction')).toBeLessThan(0.6);
    expect(guess.get('steps')).toBeLessThan(0.6);
    // Of the things that are there each may be the one: at best one of them is named, and where it is not there, any.
    let [chance, n] = [0, 0];
    for (const clip of clipsOf('test', 2000)) {
      const { objects } = frameScene(clip, Math.floor(clip.frames / 2));
      for (const { type, answer } of askClip(clip)) {
        n++;
        const [, of] = type.split('-');
        if (of === undefined) chance += guess.get(type)!;
        else {
          const shown = objects.map(({ colour, kind }) => (of === 'colour' ? colour : kind) as string);
          chance += shown.filter((one) => one === answer).length / shown.length;
        }
      }
    }
    expect(chance / n).toBeLessThan(0.45);
  });

  test('count to three', () => expect(mostSteps).toBe(3));
});
