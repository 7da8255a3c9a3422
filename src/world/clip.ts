/**
 * Clips: a few frames of a scene in which one thing moves, one may come and one may go, and the rest stands still. What
 * happens is seen between the frames alone: each of them is a scene like any other.
 */
import { createRandom, pick, shuffle, type Random } from '../random.ts';
import { wholeFrame } from './frame.ts';
import { boxAt, drawCorner, fitsIn, touch, type Corner, type Look } from './place.ts';
import type { Scene } from './scene.ts';
import { hashText, splitOfKey, type Split } from './split.ts';
import { colourNames, grid, isHeldOut, shapes, sizeNames, type Box } from './things.ts';

export const directions = ['left', 'right', 'above', 'below'] as const;
export type Direction = (typeof directions)[number];

/** One step's way, in patches. */
const ways: Record<Direction, Corner> = { left: [-1, 0], right: [1, 0], above: [0, -1], below: [0, 1] };
/** Pixels of one step. */
const stride = 2 * grid;

/** What a thing does. */
export type Doing = 'stands' | 'moves' | 'appears' | 'vanishes';

/** A thing, and where it is in each frame; undefined where it is not. */
export interface ClipThing {
  look: Look;
  doing: Doing;
  boxes: (Box | undefined)[]; // [frames]
}

export interface Clip {
  /** Such as `test-clip-000123`. */
  id: string;
  /** How many. */
  frames: number;
  things: ClipThing[];
  /** Of the one that moves: whither, and in how many steps. */
  direction: Direction;
  steps: number;
  backgroundSeed: number;
}

/** A clip has so many frames, and the one thing that moves takes 1 to {@link mostSteps} steps. */
export const clipFrames = { least: 4, most: 8 } as const;
export const mostSteps = 3;

/**
 * The clip of an index, the same on every machine. A candidate that belongs to another split is drawn again.
 * @param index a whole number, 0 or more
 * @param frames how many; drawn where left out
 */
export function createClip(split: Split, index: number, frames?: number): Clip {
  const name = `${split}-clip-${String(index).padStart(6, '0')}`;
  const id = frames === undefined ? name : `${name}-${frames}`;
  for (let attempt = 0; ; attempt++) {
    const random = createRandom(hashText(`${id} ${attempt}`));
    const { least, most } = clipFrames;
    const clip = drawClip(random, split, frames ?? least + Math.floor(random() * (most - least + 1)));
    const heldOut = clip.things.some(({ look }) => isHeldOut(look));
    if (splitOfKey(clipKey(clip), heldOut) === split) {
      return { id, ...clip, backgroundSeed: Math.floor(random() * 2 ** 32) };
    }
  }
}

/** A frame as the scene that it is. */
export function frameScene({ id, things, backgroundSeed }: Clip, frame: number): Scene {
  const objects = things.flatMap(({ look, boxes }) => {
    const box = boxes[frame];
    return box ? [{ ...look, box }] : [];
  });
  return { id: `${id}-f${frame}`, objects, backgroundSeed };
}

/** Every frame of a clip, in order. */
export const frameScenes = (clip: Clip): Scene[] =>
  Array.from({ length: clip.frames }, (_, frame) => frameScene(clip, frame));

/** All that happens, as text. Clips that differ in the ground alone are one clip. */
export function clipKey({ things }: Pick<Clip, 'things'>): string {
  return things
    .map(({ look, boxes }) => {
      const places = boxes.map((box) => box?.slice(0, 2).join(' ') ?? '-');
      return [look.kind, look.colour, look.size, ...places].join(' ');
    })
    .sort()
    .join(', ');
}

/** What is asked of is drawn before any place is: how much room there is decides no answer. */
function drawClip(random: Random, split: Split, frames: number): Omit<Clip, 'id' | 'backgroundSeed'> {
  const doings: Doing[] = ['moves'];
  for (const doing of ['appears', 'vanishes'] as const) if (random() < 0.75) doings.push(doing);
  const standing = doings.length === 3 ? 1 : 1 + Math.floor(random() * 2);
  doings.push(...Array.from({ length: standing }, () => 'stands' as const));
  const looks = drawLooks(random, split, doings.length);
  const direction = pick(random, directions);
  const steps = 1 + Math.floor(random() * Math.min(mostSteps, frames - 1));
  const stepFrames = drawFrames(random, frames, steps);

  const things: ClipThing[] = [];
  for (const [i, doing] of doings.entries()) {
    const look = looks[i];
    const [turn] = drawFrames(random, frames, 1); // when it comes or goes
    const placesFrom = ([x, y]: Corner) =>
      Array.from({ length: frames }, (_, frame): Box | undefined => {
        if (doing === 'appears' && frame < turn) return undefined;
        if (doing === 'vanishes' && frame >= turn) return undefined;
        const done = doing === 'moves' ? stepFrames.filter((at) => at <= frame).length : 0;
        const [dx, dy] = ways[direction];
        return boxAt(look, [x + done * stride * dx, y + done * stride * dy]);
      });
    let boxes = placesFrom(drawCorner(random, look, wholeFrame));
    while (!isFree(boxes, things)) boxes = placesFrom(drawCorner(random, look, wholeFrame));
    things.push({ look, doing, boxes });
  }
  return { frames, things: shuffle(random, things), direction, steps };
}

/** Some of the frames that have one before them, ascending. */
function drawFrames(random: Random, frames: number, count: number): number[] {
  const all = Array.from({ length: frames - 1 }, (_, i) => i + 1);
  return shuffle(random, all)
    .slice(0, count)
    .sort((a, b) => a - b);
}

/** Inside the picture, and apart from all others in every frame, those that are not there yet or no more too. */
function isFree(boxes: readonly (Box | undefined)[], others: readonly ClipThing[]): boolean {
  const mine = boxes.filter((box) => box !== undefined);
  if (!mine.every((box) => fitsIn(box, wholeFrame))) return false;
  const taken = others.flatMap((other) => other.boxes.filter((box) => box !== undefined));
  return !mine.some((box) => taken.some((other) => touch(box, other)));
}

/** Shapes that no two words of colour and shape confuse. One pair is held out, or none is, as the split has it. */
function drawLooks(random: Random, split: Split, count: number): Look[] {
  const looks: Look[] = [];
  while (looks.length < count) {
    const colour = pick(random, colourNames);
    const look: Look = { kind: pick(random, shapes), colour, size: pick(random, sizeNames) };
    const wanted = split === 'heldout' && looks.length === 0;
    const known = looks.some(({ kind, colour }) => kind === look.kind && colour === look.colour);
    if (isHeldOut(look) === wanted && !known) looks.push(look);
  }
  return shuffle(random, looks);
}
